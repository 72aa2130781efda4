; Whether a key or an entry has a body is told by body_reader; what is behind it says nothing of what it is.
(block_mapping_pair ":" @key) @owner
(block_sequence_item "-" @entry) @owner
(flow_sequence) @object
(flow_mapping) @object
