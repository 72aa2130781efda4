(function_declaration (function_body (block) @function)) @owner
(anonymous_function (function_body (block) @lambda)) @owner
(getter (function_body (block) @function)) @owner
(setter (function_body (block) @function)) @owner
(secondary_constructor (block) @function) @owner
(anonymous_initializer (block) @block) @owner
(class_declaration "interface" (class_body) @interface) @owner
(class_declaration (class_body) @class) @owner
(class_declaration (enum_class_body) @enum) @owner
(object_declaration (class_body) @class) @owner
(companion_object (class_body) @class) @owner
(object_literal (class_body) @class) @owner
(lambda_literal) @lambda
(for_statement (block) @loop) @owner
(while_statement (block) @loop) @owner
(do_while_statement (block) @loop) @owner
(if_expression (block) @branch) @owner
(try_expression (block) @try) @owner
(catch_block (block) @try) @owner
(finally_block (block) @try) @owner
(when_expression "{" @switch) @owner
(when_entry (block) @case) @owner

(import) @import
(package_header) @import
(source_file (property_declaration) @definition.variable)
(type_alias) @definition.type
