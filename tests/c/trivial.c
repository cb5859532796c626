#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
  printf("%d %s\n", argc, argc > 1 ? argv[1] : "");
  return argc > 2 ? system(argv[2]) != 0 : 0;
}
