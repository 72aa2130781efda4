(section . (atx_heading . (_) @section)) @owner
(fenced_code_block . (fenced_code_block_delimiter) @code) @owner
(minus_metadata) @code
(plus_metadata) @code
