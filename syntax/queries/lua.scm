(function_declaration "function" @function) @owner
(assignment_statement (expression_list value: (function_definition "function" @function))) @owner
(field value: (function_definition "function" @function)) @owner
(function_definition "function" @lambda) @owner
(for_statement "do" @loop) @owner
(while_statement "do" @loop) @owner
(repeat_statement "repeat" @loop) @owner
(if_statement "then" @branch) @owner
(elseif_statement "then" @branch) @owner
(else_statement "else" @branch) @owner
(do_statement "do" @block) @owner
(table_constructor) @object

(chunk (variable_declaration) @definition.variable)
