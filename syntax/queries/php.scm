(function_definition body: (_) @function) @owner
(method_declaration body: (_) @function) @owner
(anonymous_function body: (_) @lambda) @owner
(class_declaration body: (_) @class) @owner
(anonymous_class body: (_) @class) @owner
(interface_declaration body: (_) @interface) @owner
(trait_declaration body: (_) @class) @owner
(enum_declaration body: (_) @enum) @owner
(namespace_definition body: (_) @namespace) @owner
(for_statement body: (compound_statement) @loop) @owner
(foreach_statement body: (compound_statement) @loop) @owner
(while_statement body: (compound_statement) @loop) @owner
(do_statement body: (compound_statement) @loop) @owner
(if_statement body: (compound_statement) @branch) @owner
(else_clause body: (compound_statement) @branch) @owner
(else_if_clause body: (compound_statement) @branch) @owner
(try_statement body: (_) @try) @owner
(catch_clause body: (_) @try) @owner
(finally_clause body: (_) @try) @owner
(switch_statement body: (_) @switch) @owner
(match_expression body: (_) @switch) @owner

(namespace_use_declaration) @import
(namespace_definition !body) @import
(method_declaration !body) @definition.method
(property_declaration) @definition.variable
(const_declaration) @definition.variable
