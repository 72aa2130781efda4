(variable_declarator value: (arrow_function body: (statement_block) @lambda)) @owner
(variable_declarator value: (function_expression body: (statement_block) @function)) @owner
(pair value: (arrow_function body: (statement_block) @lambda)) @owner
(pair value: (function_expression body: (statement_block) @function)) @owner
(function_declaration body: (_) @function) @owner
(generator_function_declaration body: (_) @function) @owner
(function_expression body: (_) @lambda) @owner
(generator_function body: (_) @lambda) @owner
(arrow_function body: (statement_block) @lambda) @owner
(method_definition body: (_) @function) @owner
(class_declaration body: (_) @class) @owner
(class body: (_) @class) @owner
(class_static_block body: (_) @block) @owner
(for_statement body: (statement_block) @loop) @owner
(for_in_statement body: (statement_block) @loop) @owner
(while_statement body: (statement_block) @loop) @owner
(do_statement body: (statement_block) @loop) @owner
(if_statement consequence: (statement_block) @branch) @owner
(else_clause (statement_block) @branch) @owner
(try_statement body: (_) @try) @owner
(catch_clause body: (_) @try) @owner
(finally_clause body: (_) @try) @owner
(switch_statement body: (_) @switch) @owner
(object) @object
(object_pattern) @object

(import_statement) @import
(program (lexical_declaration) @definition.variable)
(program (export_statement declaration: (lexical_declaration) @definition.variable))
