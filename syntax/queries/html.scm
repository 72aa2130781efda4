(element (start_tag ">" @element)) @owner
(script_element (start_tag ">" @element)) @owner
(style_element (start_tag ">" @element)) @owner

(element
  (start_tag (tag_name) @tag)
  (#any-of? @tag "h1" "h2" "h3" "h4" "h5" "h6")) @definition.heading
