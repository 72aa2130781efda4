(function_definition body: (compound_statement) @function) @owner
(function_definition (try_statement body: (compound_statement) @function)) @owner
(class_specifier body: (_) @class) @owner
(struct_specifier body: (_) @struct) @owner
(union_specifier body: (_) @struct) @owner
(enum_specifier body: (_) @enum) @owner
(namespace_definition body: (_) @namespace) @owner
(lambda_expression body: (_) @lambda) @owner
(for_statement body: (compound_statement) @loop) @owner
(for_range_loop body: (compound_statement) @loop) @owner
(while_statement body: (compound_statement) @loop) @owner
(do_statement body: (compound_statement) @loop) @owner
(if_statement consequence: (compound_statement) @branch) @owner
(else_clause (compound_statement) @branch) @owner
(try_statement body: (compound_statement) @try) @owner
(catch_clause body: (compound_statement) @try) @owner
(switch_statement body: (compound_statement) @switch) @owner
(case_statement (compound_statement) @case) @owner
(linkage_specification body: (declaration_list) @block) @owner
(initializer_list) @object

(preproc_include) @import
(using_declaration) @import
(translation_unit (declaration declarator: (function_declarator)) @definition.function)
(declaration_list (declaration declarator: (function_declarator)) @definition.function)
(field_declaration_list (field_declaration declarator: (function_declarator)) @definition.method)
(field_declaration_list (declaration declarator: (function_declarator)) @definition.method)
(alias_declaration) @definition.type
(type_definition) @definition.type
(concept_definition) @definition.type
(preproc_function_def) @definition.function
