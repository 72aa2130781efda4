(method_declaration body: (_) @function) @owner
(constructor_declaration body: (_) @function) @owner
(compact_constructor_declaration body: (_) @function) @owner
(class_declaration body: (_) @class) @owner
(record_declaration body: (_) @class) @owner
(interface_declaration body: (_) @interface) @owner
(annotation_type_declaration body: (_) @interface) @owner
(enum_declaration body: (_) @enum) @owner
(enum_constant body: (_) @class) @owner
(object_creation_expression (class_body) @class) @owner
(lambda_expression body: (block) @lambda) @owner
(static_initializer (block) @block) @owner
(synchronized_statement body: (_) @block) @owner
(module_declaration body: (_) @module) @owner
(for_statement body: (block) @loop) @owner
(enhanced_for_statement body: (block) @loop) @owner
(while_statement body: (block) @loop) @owner
(do_statement body: (block) @loop) @owner
(if_statement consequence: (block) @branch) @owner
(if_statement alternative: (block) @branch) @owner
(try_statement body: (_) @try) @owner
(try_with_resources_statement body: (_) @try) @owner
(catch_clause body: (_) @try) @owner
(finally_clause (block) @try) @owner
(switch_expression body: (_) @switch) @owner
(switch_rule (block) @case) @owner
(array_initializer) @object

(import_declaration) @import
(package_declaration) @import
(method_declaration !body) @definition.method
(field_declaration) @definition.variable
(constant_declaration) @definition.variable
