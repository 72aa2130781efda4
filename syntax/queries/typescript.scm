; inherits: javascript
(abstract_class_declaration body: (_) @class) @owner
(interface_declaration body: (_) @interface) @owner
(enum_declaration body: (_) @enum) @owner
(module body: (_) @namespace) @owner
(internal_module body: (_) @namespace) @owner
(type_alias_declaration value: (object_type) @interface) @owner
(object_type) @object

(function_signature) @definition.function
(method_signature) @definition.method
(abstract_method_signature) @definition.method
(type_alias_declaration) @definition.type
