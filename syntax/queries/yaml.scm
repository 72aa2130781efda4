(block_mapping_pair ":" @key value: (block_node)) @owner
(block_mapping_pair ":" @key !value) @owner
(block_sequence_item "-" @entry (block_node)) @owner
(flow_sequence) @object
(flow_mapping) @object

(document (block_node (block_mapping (block_mapping_pair value: (flow_node)) @definition.key)))
