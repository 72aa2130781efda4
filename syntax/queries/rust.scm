(function_item body: (_) @function) @owner
(impl_item body: (_) @class) @owner
(trait_item body: (_) @interface) @owner
(struct_item body: (field_declaration_list) @struct) @owner
(union_item body: (_) @struct) @owner
(enum_item body: (_) @enum) @owner
(enum_variant body: (field_declaration_list) @struct) @owner
(mod_item body: (_) @module) @owner
(foreign_mod_item body: (_) @module) @owner
(closure_expression body: (block) @lambda) @owner
(async_block (block) @lambda) @owner
(loop_expression body: (_) @loop) @owner
(while_expression body: (_) @loop) @owner
(for_expression body: (_) @loop) @owner
(if_expression consequence: (_) @branch) @owner
(else_clause (block) @branch) @owner
(let_declaration alternative: (block) @branch) @owner
(match_expression body: (_) @switch) @owner
(match_arm value: (block) @case) @owner
(unsafe_block (block) @block) @owner
(struct_expression body: (_) @object) @owner
(macro_definition "{" @block) @owner

(use_declaration) @import
(extern_crate_declaration) @import
(mod_item !body) @import
(function_signature_item) @definition.method
(type_item) @definition.type
(const_item) @definition.variable
(static_item) @definition.variable
(source_file (struct_item) @definition.struct)
(macro_definition) @definition.function
