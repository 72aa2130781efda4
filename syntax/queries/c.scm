(function_definition body: (compound_statement) @function) @owner
(struct_specifier body: (_) @struct) @owner
(union_specifier body: (_) @struct) @owner
(enum_specifier body: (_) @enum) @owner
(for_statement body: (compound_statement) @loop) @owner
(while_statement body: (compound_statement) @loop) @owner
(do_statement body: (compound_statement) @loop) @owner
(if_statement consequence: (compound_statement) @branch) @owner
(else_clause (compound_statement) @branch) @owner
(switch_statement body: (compound_statement) @switch) @owner
(case_statement (compound_statement) @case) @owner
(linkage_specification body: (declaration_list) @block) @owner
(initializer_list) @object

(preproc_include) @import
(translation_unit (declaration declarator: (function_declarator)) @definition.function)
(translation_unit (declaration declarator: (pointer_declarator declarator: (function_declarator))) @definition.function)
(type_definition) @definition.type
(preproc_function_def) @definition.function
