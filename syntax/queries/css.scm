(rule_set (block) @block) @owner
(media_statement (block) @block) @owner
(at_rule (block) @block) @owner
(keyframes_statement (keyframe_block_list) @block) @owner
(keyframe_block (block) @block) @owner
(supports_statement (block) @block) @owner
(import_statement) @import
