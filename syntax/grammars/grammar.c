// A generated parser: the parser.c of the one grammar on the include path. Parsers of large grammars ask GCC for -O0, which spares
// their authors compile time and costs us parsing time; without the compiler's name they do not find whom
// to ask (compiling takes no longer).
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <tree_sitter/parser.h>
#undef __GNUC__
#undef __clang__
#include "parser.c"
