(method "def" @function) @owner
(singleton_method "def" @function) @owner
(class "class" @class) @owner
(singleton_class "class" @class) @owner
(module "module" @module) @owner
(do_block "do" @lambda) @owner
(block "{" @lambda) @owner
(begin "begin" @try) @owner
(rescue "rescue" @try) @owner
(ensure "ensure" @try) @owner
(if "if" @branch) @owner
(unless "unless" @branch) @owner
(elsif "elsif" @branch) @owner
(else "else" @branch) @owner
(while "while" @loop) @owner
(until "until" @loop) @owner
(for "for" @loop) @owner
(case "case" @switch) @owner
(when "when" @case) @owner
(in_clause "in" @case) @owner
(hash) @object

(program (call method: (identifier) @_m (#any-of? @_m "require" "require_relative" "load" "autoload")) @import)
(program (assignment left: (constant)) @definition.variable)
