#include <climlink/climlink.h>
#include <stdio.h>
#include <string.h>

/* Opens the package named by the first argument. A climlink built without libtorch can only check
 * it, and says so. */
int main(int argc, char** argv) {
  climlink_emulator* emulator = NULL;
  if (argc != 2) return 2;
  const climlink_status status = climlink_open(argv[1], NULL, &emulator);
  const int stub = strcmp(climlink_backend(), "stub") == 0;
  if (status != (stub ? CLIMLINK_ERROR_BACKEND : CLIMLINK_OK)) {
    fprintf(stderr, "%s: %s\n", climlink_status_name(status), climlink_last_message());
    return 1;
  }
  return climlink_close(&emulator) == CLIMLINK_OK ? 0 : 1;
}
