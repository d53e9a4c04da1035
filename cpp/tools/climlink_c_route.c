/* climlink-c-route [--trust-code] PACKAGE INPUT.f32 N_COLUMN OUTPUT.f32 [CONSTRAINTS_OFF]
 *
 * Runs packed columns through a package by way of the C interface, variable by variable and by name, as a host model would: every
 * profile is handed over as a strided float64 array [column, level] with the column fastest. `climlink verify` uses it as its C route;
 * it is also the C example. INPUT and OUTPUT are raw little-endian float32 rows, [n_column, n_input] and [n_column, n_output].
 * CONSTRAINTS_OFF are names of constraints to leave out, separated by commas; --trust-code leaves out
 * the check of what the graph may do. Exit code: 0 ok, 1 failed, 2 wrong usage. */
#include <climlink/climlink.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ok = 0, failed = 1, wrong_usage = 2 };

static int complain(const char* what) {
  fprintf(stderr, "climlink-c-route: %s: %s\n", what, climlink_last_message());
  return failed;
}

static int complain_file(const char* path, const char* what) {
  fprintf(stderr, "climlink-c-route: %s: %s\n", path, what);
  return failed;
}

/* Allocates count elements of size bytes; never returns NULL for count 0. */
static void* new_array(int64_t count, size_t size) {
  if (count < 0 || (uint64_t)count > SIZE_MAX / size - 1) return NULL;
  return malloc(((size_t)count + 1) * size);
}

static int read_rows(const char* path, float* rows, int64_t count) {
  FILE* file = fopen(path, "rb");
  if (file == NULL) return complain_file(path, strerror(errno));
  const size_t read = fread(rows, sizeof *rows, (size_t)count, file);
  const int more = fgetc(file) != EOF;
  fclose(file);
  if (read == (size_t)count && !more) return ok;
  return complain_file(path, more ? "holds more float32 values than N_COLUMN rows" : "holds fewer float32 values than N_COLUMN rows");
}

static int write_rows(const char* path, const float* rows, int64_t count) {
  FILE* file = fopen(path, "wb");
  if (file == NULL) return complain_file(path, strerror(errno));
  const size_t written = fwrite(rows, sizeof *rows, (size_t)count, file);
  const int closed = fclose(file);
  return written == (size_t)count && closed == 0 ? ok : complain_file(path, "could not be written in full");
}

/* A float64 array [column, level], column fastest: what a Fortran host has. */
static climlink_array host_view(double* values, int64_t n_column, int64_t width) {
  climlink_array array;
  array.data = values;
  array.type = CLIMLINK_FLOAT64;
  array.rank = width > 1 ? 2 : 1;
  array.extent[0] = n_column;
  array.extent[1] = width;
  array.stride[0] = (int64_t)sizeof(double);
  array.stride[1] = (int64_t)sizeof(double) * n_column;
  return array;
}

static int set_inputs(climlink_emulator* emulator, const float* rows, int64_t n_column, int32_t n_variable, int64_t row_width,
                      double* host) {
  for (int32_t i = 0; i < n_variable; ++i) {
    const char *name, *units;
    int64_t width, offset;
    if (climlink_variable(emulator, CLIMLINK_INPUT, i, &name, &units, &width, &offset) != CLIMLINK_OK) return complain("input variable");
    for (int64_t c = 0; c < n_column; ++c) {
      for (int64_t l = 0; l < width; ++l) host[l * n_column + c] = (double)rows[c * row_width + offset + l];
    }
    const climlink_array array = host_view(host, n_column, width);
    if (climlink_set(emulator, name, &array, 0) != CLIMLINK_OK) return complain("set");
  }
  return ok;
}

static int get_outputs(const climlink_emulator* emulator, float* rows, int64_t n_column, int32_t n_variable, int64_t row_width,
                       double* host) {
  for (int32_t i = 0; i < n_variable; ++i) {
    const char *name, *units;
    int64_t width, offset;
    if (climlink_variable(emulator, CLIMLINK_OUTPUT, i, &name, &units, &width, &offset) != CLIMLINK_OK) return complain("output variable");
    const climlink_array array = host_view(host, n_column, width);
    if (climlink_get(emulator, name, &array, 0) != CLIMLINK_OK) return complain("get");
    for (int64_t c = 0; c < n_column; ++c) {
      for (int64_t l = 0; l < width; ++l) rows[c * row_width + offset + l] = (float)host[l * n_column + c];
    }
  }
  return ok;
}

static int run_rows(climlink_emulator* emulator, const char* input, int64_t n_column, const char* output) {
  int32_t n_in = 0, n_out = 0;
  int64_t in_width = 0, out_width = 0;
  if (climlink_variable_count(emulator, CLIMLINK_INPUT, &n_in, &in_width) != CLIMLINK_OK ||
      climlink_variable_count(emulator, CLIMLINK_OUTPUT, &n_out, &out_width) != CLIMLINK_OK) {
    return complain("variables");
  }
  const int64_t widest = in_width > out_width ? in_width : out_width;
  if (n_column > INT64_MAX / widest) return complain_file(input, "N_COLUMN is too large for this machine");
  float* x = new_array(n_column * in_width, sizeof *x);
  float* y = new_array(n_column * out_width, sizeof *y);
  double* host = new_array(n_column * widest, sizeof *host); /* one variable at a time */
  int status = x != NULL && y != NULL && host != NULL ? ok : complain_file(input, "not enough memory for N_COLUMN rows");
  if (status == ok) status = read_rows(input, x, n_column * in_width);
  if (status == ok && climlink_begin(emulator, n_column) != CLIMLINK_OK) status = complain("begin");
  if (status == ok) status = set_inputs(emulator, x, n_column, n_in, in_width, host);
  if (status == ok && climlink_run(emulator) != CLIMLINK_OK) status = complain("run");
  if (status == ok) status = get_outputs(emulator, y, n_column, n_out, out_width, host);
  if (status == ok) status = write_rows(output, y, n_column * out_width);
  free(x);
  free(y);
  free(host);
  return status;
}

int main(int argc, char** argv) {
  char* end = NULL;
  climlink_options options = climlink_options_default();
  if (argc > 1 && strcmp(argv[1], "--trust-code") == 0) {
    options.trust_code = 1;
    ++argv;
    --argc;
  }
  errno = 0;
  const long long n_column = argc == 5 || argc == 6 ? strtoll(argv[3], &end, 10) : -1;
  if (n_column < 0 || errno != 0 || end == argv[3] || *end != '\0') {
    fputs(
        "usage: climlink-c-route [--trust-code] PACKAGE INPUT.f32 N_COLUMN OUTPUT.f32 [CONSTRAINTS_OFF]\n"
        "example: climlink-c-route wrap_model.pt columns.f32 384 tendencies.f32\n",
        stderr);
    return wrong_usage;
  }
  climlink_emulator* emulator = NULL;
  if (argc == 6) options.constraints_off = argv[5];
  if (climlink_open(argv[1], &options, &emulator) != CLIMLINK_OK) return complain("open");
  const int status = run_rows(emulator, argv[2], n_column, argv[4]);
  climlink_close(&emulator);
  return status;
}
