(pair value: (object) @object) @owner
(pair value: (array) @object) @owner
(object) @object
(array) @object
