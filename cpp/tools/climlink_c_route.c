/* climlink-c-route [--trust-code] [--device DEVICE] [--compiled ARTEFACT SHA256] PACKAGE INPUT.f32
 *     N_COLUMN OUTPUT.f32 [CONSTRAINTS_OFF]
 *
 * Runs packed rows through a package by way of the C interface, variable by variable and by name,
 * as a host model would: every variable is handed over as a strided float64 array [sample,
 * dimensions...] with the sample fastest. `climlink verify` uses it as its C route; it is also the
 * C example. INPUT and OUTPUT are raw little-endian float32 rows, [n_column, n_input] and
 * [n_column, n_output]. CONSTRAINTS_OFF are names of constraints to leave out, separated by commas;
 * --trust-code leaves out the check of what the graph may do; --device is where the network runs,
 * "cpu" if not given; --compiled runs a compiled artefact
 * and fails where it cannot run here. Exit code: 0 ok, 1 failed, 2 wrong usage. */
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
  return complain_file(path, more ? "holds more float32 values than N_COLUMN rows"
                                  : "holds fewer float32 values than N_COLUMN rows");
}

static int write_rows(const char* path, const float* rows, int64_t count) {
  FILE* file = fopen(path, "wb");
  if (file == NULL) return complain_file(path, strerror(errno));
  const size_t written = fwrite(rows, sizeof *rows, (size_t)count, file);
  const int closed = fclose(file);
  return written == (size_t)count && closed == 0
             ? ok
             : complain_file(path, "could not be written in full");
}

/* One variable: where it stands in a packed row, and its dimensions. */
typedef struct {
  const char* name;
  int64_t width, offset;
  int32_t n_dim;
  const int64_t* sizes;
} variable;

static int describe(const climlink_emulator* emulator, climlink_role role, int32_t index,
                    variable* v) {
  const char* units;
  const char* const* names;
  if (climlink_variable(emulator, role, index, &v->name, &units, &v->width, &v->offset) !=
          CLIMLINK_OK ||
      climlink_variable_dims(emulator, role, index, &v->n_dim, &names, &v->sizes) != CLIMLINK_OK) {
    return complain("variable");
  }
  return ok;
}

/* A float64 array [sample, dimensions...], sample fastest: what a Fortran host has. */
static climlink_array host_view(double* values, int64_t n_sample, const variable* v) {
  climlink_array array = {
      values, CLIMLINK_FLOAT64, 1 + v->n_dim, {n_sample}, {(int64_t)sizeof(double)}};
  for (int32_t d = 0; d < v->n_dim; ++d) {
    array.extent[d + 1] = v->sizes[d];
    array.stride[d + 1] = array.stride[d] * array.extent[d];
  }
  return array;
}

/* Where value number `position` of a packed variable lies in host_view's memory. */
static double* host_value(double* values, int64_t n_sample, const variable* v, int64_t sample,
                          int64_t position) {
  int64_t index = 0;
  int64_t slower = v->width;
  int64_t stride = n_sample;
  for (int32_t d = 0; d < v->n_dim; ++d) {
    slower /= v->sizes[d];
    index += position / slower * stride;
    position %= slower;
    stride *= v->sizes[d];
  }
  return values + index + sample;
}

static int set_inputs(climlink_emulator* emulator, const float* rows, int64_t n_sample,
                      int32_t n_variable, int64_t row_width, double* host) {
  for (int32_t i = 0; i < n_variable; ++i) {
    variable v;
    if (describe(emulator, CLIMLINK_INPUT, i, &v) != ok) return failed;
    for (int64_t c = 0; c < n_sample; ++c) {
      for (int64_t k = 0; k < v.width; ++k)
        *host_value(host, n_sample, &v, c, k) = rows[c * row_width + v.offset + k];
    }
    const climlink_array array = host_view(host, n_sample, &v);
    if (climlink_set(emulator, v.name, &array, 0) != CLIMLINK_OK) return complain("set");
  }
  return ok;
}

static int get_outputs(const climlink_emulator* emulator, float* rows, int64_t n_sample,
                       int32_t n_variable, int64_t row_width, double* host) {
  for (int32_t i = 0; i < n_variable; ++i) {
    variable v;
    if (describe(emulator, CLIMLINK_OUTPUT, i, &v) != ok) return failed;
    const climlink_array array = host_view(host, n_sample, &v);
    if (climlink_get(emulator, v.name, &array, 0) != CLIMLINK_OK) return complain("get");
    for (int64_t c = 0; c < n_sample; ++c) {
      for (int64_t k = 0; k < v.width; ++k)
        rows[c * row_width + v.offset + k] = (float)*host_value(host, n_sample, &v, c, k);
    }
  }
  return ok;
}

static int run_rows(climlink_emulator* emulator, const char* input, int64_t n_column,
                    const char* output) {
  int32_t n_in = 0, n_out = 0;
  int64_t in_width = 0, out_width = 0;
  if (climlink_variable_count(emulator, CLIMLINK_INPUT, &n_in, &in_width) != CLIMLINK_OK ||
      climlink_variable_count(emulator, CLIMLINK_OUTPUT, &n_out, &out_width) != CLIMLINK_OK) {
    return complain("variables");
  }
  const int64_t widest = in_width > out_width ? in_width : out_width;
  if (n_column > INT64_MAX / widest)
    return complain_file(input, "N_COLUMN is too large for this machine");
  float* x = new_array(n_column * in_width, sizeof *x);
  float* y = new_array(n_column * out_width, sizeof *y);
  double* host = new_array(n_column * widest, sizeof *host); /* one variable at a time */
  int status = x != NULL && y != NULL && host != NULL
                   ? ok
                   : complain_file(input, "not enough memory for N_COLUMN rows");
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

/* What stands before the package on the command line. */
typedef struct {
  const char *trust_code, *device, *compiled, *compiled_sha256;
} switches;

static int open_package(const char* path, const switches* given, const char* constraints_off,
                        climlink_emulator** emulator) {
  climlink_options* options = NULL;
  const int status =
      climlink_options_new(&options) == CLIMLINK_OK &&
              climlink_options_set(options, "trust_code", given->trust_code) == CLIMLINK_OK &&
              climlink_options_set(options, "device", given->device) == CLIMLINK_OK &&
              climlink_options_set(options, "compiled", given->compiled) == CLIMLINK_OK &&
              climlink_options_set(options, "compiled_sha256", given->compiled_sha256) ==
                  CLIMLINK_OK &&
              climlink_options_set(options, "constraints_off", constraints_off) == CLIMLINK_OK &&
              climlink_open(path, options, emulator) == CLIMLINK_OK
          ? ok
          : complain("open");
  climlink_options_free(&options);
  return status;
}

/* Whether the artefact that was asked for runs. */
static int check_engine(const climlink_emulator* emulator, const switches* given) {
  const char *engine = "", *note = "";
  if (climlink_engine(emulator, &engine) != CLIMLINK_OK ||
      climlink_engine_note(emulator, &note) != CLIMLINK_OK)
    return complain("engine");
  if (given->compiled[0] == '\0' || strcmp(engine, "aotinductor") == 0) return ok;
  return complain_file(given->compiled, note);
}

int main(int argc, char** argv) {
  char* end = NULL;
  switches given = {"false", "cpu", "", ""};
  if (argc > 1 && strcmp(argv[1], "--trust-code") == 0) {
    given.trust_code = "true";
    ++argv;
    --argc;
  }
  if (argc > 2 && strcmp(argv[1], "--device") == 0) {
    given.device = argv[2];
    argv += 2;
    argc -= 2;
  }
  if (argc > 3 && strcmp(argv[1], "--compiled") == 0) {
    given.compiled = argv[2];
    given.compiled_sha256 = argv[3];
    argv += 3;
    argc -= 3;
  }
  errno = 0;
  const long long n_column = argc == 5 || argc == 6 ? strtoll(argv[3], &end, 10) : -1;
  if (n_column < 0 || errno != 0 || end == argv[3] || *end != '\0') {
    fputs(
        "usage: climlink-c-route [--trust-code] [--device DEVICE] [--compiled ARTEFACT SHA256] "
        "PACKAGE INPUT.f32 N_COLUMN OUTPUT.f32 [CONSTRAINTS_OFF]\n"
        "example: climlink-c-route wrap_model.pt columns.f32 384 tendencies.f32\n",
        stderr);
    return wrong_usage;
  }
  climlink_emulator* emulator = NULL;
  int status = open_package(argv[1], &given, argc == 6 ? argv[5] : "", &emulator);
  if (status == ok) status = check_engine(emulator, &given);
  if (status == ok) status = run_rows(emulator, argv[2], n_column, argv[4]);
  climlink_close(&emulator);
  return status;
}
