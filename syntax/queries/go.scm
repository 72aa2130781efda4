(function_declaration body: (_) @function) @owner
(method_declaration body: (_) @method) @owner
(func_literal body: (_) @lambda) @owner
(type_spec type: (struct_type (field_declaration_list) @struct)) @owner
(type_spec type: (interface_type "{" @interface)) @owner
(struct_type (field_declaration_list) @struct) @owner
(interface_type "{" @interface) @owner
(for_statement body: (_) @loop) @owner
(if_statement consequence: (_) @branch) @owner
(if_statement alternative: (block) @branch) @owner
(expression_switch_statement "{" @switch) @owner
(type_switch_statement "{" @switch) @owner
(select_statement "{" @switch) @owner
(composite_literal body: (_) @object) @owner
(literal_value) @object

(import_declaration) @import
(package_clause) @import
(source_file (type_declaration (type_spec) @definition.type))
(source_file (type_declaration (type_alias) @definition.type))
(source_file (const_declaration) @definition.variable)
(source_file (var_declaration) @definition.variable)
