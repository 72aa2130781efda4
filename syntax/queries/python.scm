(function_definition ":" @function body: (block)) @owner
(class_definition ":" @class body: (block)) @owner
(for_statement ":" @loop body: (block)) @owner
(while_statement ":" @loop body: (block)) @owner
(if_statement ":" @branch consequence: (block)) @owner
(elif_clause ":" @branch consequence: (block)) @owner
(else_clause ":" @branch body: (block)) @owner
(try_statement ":" @try body: (block)) @owner
(except_clause ":" @try (block)) @owner
(finally_clause ":" @try (block)) @owner
(with_statement ":" @block body: (block)) @owner
(match_statement ":" @switch body: (block)) @owner
(case_clause ":" @case consequence: (block)) @owner
(dictionary) @object
(set) @object
(dictionary_comprehension) @object
(set_comprehension) @object

(import_statement) @import
(import_from_statement) @import
(future_import_statement) @import
(module (expression_statement (assignment) @definition.variable))
(type_alias_statement) @definition.type
