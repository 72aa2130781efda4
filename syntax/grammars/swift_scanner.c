// Swift's scanner asks for zero objects (calloc(0, …)) and works on what it gets, and keeps what the
// last parse left when a new one begins: the same text then parses one way or another. Here it gets one
// object, and begins each parse with a clean one.
#include <stdlib.h>
#define calloc(count, size) calloc((count) > 0 ? (count) : 1, size)
#define tree_sitter_swift_external_scanner_deserialize deserialize_kept
#include "scanner.c"
#undef tree_sitter_swift_external_scanner_deserialize

void tree_sitter_swift_external_scanner_deserialize(void *payload, const char *buffer,
                                                    unsigned length) {
  if (length == 0) tree_sitter_swift_external_scanner_reset(payload);
  deserialize_kept(payload, buffer, length);
}
