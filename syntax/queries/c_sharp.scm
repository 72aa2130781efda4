(method_declaration body: (block) @function) @owner
(constructor_declaration body: (block) @function) @owner
(destructor_declaration body: (block) @function) @owner
(operator_declaration body: (block) @function) @owner
(conversion_operator_declaration body: (block) @function) @owner
(local_function_statement body: (block) @function) @owner
(accessor_declaration body: (block) @function) @owner
(property_declaration accessors: (accessor_list) @block) @owner
(indexer_declaration accessors: (accessor_list) @block) @owner
(class_declaration body: (_) @class) @owner
(record_declaration body: (_) @class) @owner
(struct_declaration body: (_) @struct) @owner
(interface_declaration body: (_) @interface) @owner
(enum_declaration body: (_) @enum) @owner
(namespace_declaration body: (_) @namespace) @owner
(lambda_expression body: (block) @lambda) @owner
(anonymous_method_expression (block) @lambda) @owner
(for_statement body: (block) @loop) @owner
(foreach_statement body: (block) @loop) @owner
(while_statement body: (block) @loop) @owner
(do_statement body: (block) @loop) @owner
(if_statement consequence: (block) @branch) @owner
(if_statement alternative: (block) @branch) @owner
(try_statement body: (_) @try) @owner
(catch_clause body: (_) @try) @owner
(finally_clause (block) @try) @owner
(switch_statement body: (_) @switch) @owner
(switch_expression "{" @switch) @owner
(using_statement body: (block) @block) @owner
(lock_statement (block) @block) @owner
(initializer_expression) @object
(anonymous_object_creation_expression "{" @object) @owner

(using_directive) @import
(method_declaration !body) @definition.method
(field_declaration) @definition.variable
(delegate_declaration) @definition.type
