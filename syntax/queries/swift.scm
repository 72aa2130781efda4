(function_declaration body: (_) @function) @owner
(init_declaration body: (_) @function) @owner
(deinit_declaration body: (_) @function) @owner
(class_declaration declaration_kind: "struct" body: (_) @struct) @owner
(class_declaration declaration_kind: "enum" body: (_) @enum) @owner
(class_declaration body: (_) @class) @owner
(protocol_declaration body: (_) @interface) @owner
(lambda_literal) @lambda
(computed_property "{" @function) @owner
(computed_getter "{" @function) @owner
(computed_setter "{" @function) @owner
(for_statement "{" @loop) @owner
(while_statement "{" @loop) @owner
(repeat_while_statement "{" @loop) @owner
(if_statement "{" @branch) @owner
(guard_statement "{" @branch) @owner
(do_statement "{" @try) @owner
(catch_block "{" @try) @owner
(switch_statement "{" @switch) @owner

(import_declaration) @import
(protocol_function_declaration) @definition.method
(source_file (property_declaration) @definition.variable)
(typealias_declaration) @definition.type
