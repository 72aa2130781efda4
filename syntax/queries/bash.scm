(function_definition body: (compound_statement) @function) @owner
(for_statement body: (do_group) @loop) @owner
(c_style_for_statement body: (do_group) @loop) @owner
(while_statement body: (do_group) @loop) @owner
(if_statement "then" @branch) @owner
(elif_clause "then" @branch) @owner
(else_clause "else" @branch) @owner
(case_statement "case" @switch) @owner
(compound_statement) @block

(program (command name: (command_name) @_n (#any-of? @_n "source" ".")) @import)
(program (variable_assignment) @definition.variable)
