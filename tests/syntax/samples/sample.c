#include <stdio.h>
#define OPEN {

/* a brace in a comment: { */
struct point {
  int x, y;
};

enum color { RED, GREEN };

typedef struct {
  char c;
} wrapped;

static const int table[] = {
  1, 2,
  3,
};

int twice(int n) { return 2 * n; }

static int sum(const int* values,
               int count)
{
  int total = 0;
  for (int i = 0; i < count; i++) {
    if (values[i] == '{') {
      total += '\'';
    } else if (values[i] > 10) {
      continue;
    } else {
      total += values[i];
    }
  }
  do {
    total--;
  } while (total > 100);
  switch (total) {
    case 1: {
      puts("} in a string");
      break;
    }
    default:
      break;
  }
  return total;
}
