(function_definition body: (block) @function) @owner
(class_definition body: (template_body) @class) @owner
(object_definition body: (template_body) @class) @owner
(trait_definition body: (template_body) @interface) @owner
(enum_definition body: (enum_body) @enum) @owner
(package_object body: (template_body) @module) @owner
(package_clause body: (template_body) @namespace) @owner
(instance_expression (template_body) @class) @owner
(lambda_expression (block) @lambda) @owner
(for_expression body: (block) @loop) @owner
(while_expression body: (block) @loop) @owner
(do_while_expression body: (block) @loop) @owner
(if_expression consequence: (block) @branch) @owner
(if_expression alternative: (block) @branch) @owner
(try_expression body: (block) @try) @owner
(catch_clause (case_block) @try) @owner
(finally_clause (block) @try) @owner
(match_expression body: (case_block) @switch) @owner
(call_expression arguments: (block) @lambda) @owner
(call_expression arguments: (case_block) @lambda) @owner
(val_definition value: (block) @block) @owner

(import_declaration) @import
(package_clause !body) @import
(function_declaration) @definition.method
(type_definition) @definition.type
