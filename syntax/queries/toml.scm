(table . "[" @table) @owner
(table_array_element . "[[" @table) @owner
(array) @object

(document (pair) @definition.key)
