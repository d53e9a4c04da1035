/* The lock of a run folder. Fortran has no means of its own for it. */
#define _DEFAULT_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { LOCKED = 0, TAKEN = 1, FAILED = 2 };

/* Locks a file, made where it is missing, for as long as this process lives: alone, or together
 * with others that share the lock. A second call for the same file changes the kind. After FAILED,
 * reason [size] says why. */
int climlink_host_lock(const char* path, int shared, char* reason, int size) {
  static int held = -1;
  if (held < 0) held = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (held >= 0 && flock(held, (shared ? LOCK_SH : LOCK_EX) | LOCK_NB) == 0) return LOCKED;
  if (held >= 0 && errno == EWOULDBLOCK) return TAKEN;
  snprintf(reason, (size_t)size, "%s", strerror(errno));
  return FAILED;
}
