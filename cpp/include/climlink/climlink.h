/* climlink: one C99 interface to exported emulators (wrap_model.pt) of columns, land cells or
 * fields.
 *
 * A sample is one of these: one row of the network. "column" in names and messages means the same.
 * Life cycle:   climlink_open* -> { climlink_begin -> climlink_set ... -> climlink_run ->
 * climlink_get ... } -> climlink_close
 *
 * Every function returns a status and never exits, aborts, prints or lets a C++ exception through.
 * After a failure, climlink_last_message() holds, for the calling thread, a sentence that says what
 * was expected, what came and what to do. A handle may be used by one thread at a time; different
 * handles are independent. The host's floating-point traps are off inside a call; traps, flags and
 * rounding are as before after it.
 */
#ifndef CLIMLINK_H
#define CLIMLINK_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define CLIMLINK_API __declspec(dllexport)
#else
#define CLIMLINK_API __attribute__((visibility("default")))
#endif

/* In C++ the enumerations have a fixed type, so that a wrong number from a caller is a value to
 * refuse and not undefined behaviour. */
#ifdef __cplusplus
#define CLIMLINK_ENUM(name) enum name : int
extern "C" {
#else
#define CLIMLINK_ENUM(name) enum name
#endif

/* Opaque: one opened package, its packed input and output buffers, and its backend. */
typedef struct climlink_emulator climlink_emulator;

typedef CLIMLINK_ENUM(climlink_status){
    CLIMLINK_OK = 0,
    CLIMLINK_ERROR_ARGUMENT = 1, /* null pointer, negative count, unknown device text, ... */
    CLIMLINK_ERROR_FILE = 2,     /* missing, unreadable or truncated file */
    CLIMLINK_ERROR_PACKAGE =
        3, /* not a package: no zip, no manifest, no golden columns, not TorchScript */
    CLIMLINK_ERROR_SCHEMA = 4, /* manifest newer than this library, or not valid */
    CLIMLINK_ERROR_DIGEST = 5, /* the file's SHA-256 is not the pinned one */
    CLIMLINK_ERROR_HOST =
        6, /* level count, time step or units of the host disagree with the manifest */
    CLIMLINK_ERROR_VARIABLE = 7,  /* unknown variable name, or input variables left unset */
    CLIMLINK_ERROR_SHAPE = 8,     /* wrong rank, extent, type or column range */
    CLIMLINK_ERROR_NONFINITE = 9, /* NaN or Inf in an input or an output */
    CLIMLINK_ERROR_GOLDEN = 10,   /* the golden columns do not come out as recorded */
    CLIMLINK_ERROR_GRAPH =
        11, /* the graph disagrees with the manifest, or its code does more than compute */
    CLIMLINK_ERROR_DEVICE = 12,   /* the device asked for is not there */
    CLIMLINK_ERROR_BACKEND = 13,  /* the backend (libtorch) failed, or was not built in */
    CLIMLINK_ERROR_STATE = 14,    /* calls out of order, for example get before run */
    CLIMLINK_ERROR_INTERNAL = 15, /* out of memory, or a defect in climlink */
    CLIMLINK_ERROR_GROUP = 16 /* a rank that shares the network has ended or does not come: end the
                                 program without waiting for it */
} climlink_status;

typedef CLIMLINK_ENUM(climlink_type){CLIMLINK_FLOAT32 = 1, CLIMLINK_FLOAT64 = 2} climlink_type;
typedef CLIMLINK_ENUM(climlink_role){CLIMLINK_INPUT = 1, CLIMLINK_OUTPUT = 2} climlink_role;

/* Opaque: how a package is opened. Options have names and are set by text; climlink_option lists
 * them. */
typedef struct climlink_options climlink_options;

/* The sample and at most three dimensions of a variable. */
#define CLIMLINK_MAX_RANK 4

/* A strided view of caller memory: index 0 is the sample, the others the variable's dimensions in
 * the order of climlink_variable_dims, whatever the order in memory. Extents and strides beyond
 * rank are not read. A variable without dimensions has rank 1, or rank 2 with extent[1] = 1. */
typedef struct climlink_array {
  void* data;
  climlink_type type;
  int32_t rank;                      /* 1 + number of dimensions */
  int64_t extent[CLIMLINK_MAX_RANK]; /* such as [sample, level] or [sample, lat, lon] */
  int64_t stride[CLIMLINK_MAX_RANK]; /* bytes from one index to the next, also negative */
} climlink_array;

/* One variable of a host. */
typedef struct climlink_host_variable {
  const char* name;
  const char* units; /* "" or NULL: the host makes no claim */
  const char* dims; /* names separated by blanks, in any order, without the sample; "" for a scalar;
                       NULL: the host makes no claim */
  int32_t taken;    /* 0: an input that the host gives; 1: an output that it takes and needs */
} climlink_host_variable;

CLIMLINK_API const char* climlink_version(void);
/* Name of the backend built in: "torchscript" or "stub". */
CLIMLINK_API const char* climlink_backend(void);
/* Model of this processor, as the tuning files of `climlink bench` name it; "unknown" where Linux
 * does not tell. Never NULL. */
CLIMLINK_API const char* climlink_processor_name(void);
/* Short name of a status, such as "nonfinite"; never NULL. */
CLIMLINK_API const char* climlink_status_name(climlink_status status);
/* Message of this thread's last failed call; "" before any. Valid until this thread's next climlink
 * call. */
CLIMLINK_API const char* climlink_last_message(void);

/* Reads a whole regular file below 2 GiB into memory owned by climlink; free it with climlink_free.
 */
CLIMLINK_API climlink_status climlink_read_file(const char* path, void** bytes, int64_t* size);
CLIMLINK_API void climlink_free(void* bytes);

/* The checks of climlink_open for whoever loads an archive (a package or plain TorchScript) by
 * other means; name is used in messages. check_archive: no entry twice, sizes and manifest in
 * bounds, every entry read to its end (CRC). Errors: FILE, PACKAGE, SCHEMA. check_code: nothing
 * runs on load and every operator only computes. Errors: PACKAGE, GRAPH, BACKEND. */
CLIMLINK_API climlink_status climlink_check_archive(const void* bytes, int64_t size,
                                                    const char* name);
CLIMLINK_API climlink_status climlink_check_code(const void* bytes, int64_t size, const char* name);
/* Contents of the only entry whose path ends in suffix, such as "/extra/climlink/manifest.json";
 * free them with climlink_free. */
CLIMLINK_API climlink_status climlink_read_entry(const void* bytes, int64_t size, const char* name,
                                                 const char* suffix, void** contents,
                                                 int64_t* contents_size);

/* Why the compiled artefact at a path would not run here on a device ("cpu", "cuda:N") for the
 * package in bytes; "" if it would. Its code is not loaded. Free the text with climlink_free.
 * Errors: FILE, PACKAGE, SCHEMA, and BACKEND for a precision that the manifest does not allow. */
CLIMLINK_API climlink_status climlink_compiled_obstacle(const void* bytes, int64_t size,
                                                        const char* name, const char* compiled,
                                                        const char* device, void** text,
                                                        int64_t* text_size);

/* The options there are, index from 0: name, type ("text", "integer", "real", "logical", or
 * "names", separated by commas), default as text, who sets it ("user", or "host" for what only the
 * host knows), and a sentence of help. Valid as long as the library is loaded. */
CLIMLINK_API int32_t climlink_option_count(void);
CLIMLINK_API climlink_status climlink_option(int32_t index, const char** name, const char** type,
                                             const char** value, const char** set_by,
                                             const char** help);
/* Options with every default; free them with climlink_options_free. */
CLIMLINK_API climlink_status climlink_options_new(climlink_options** options);
/* Sets one option from text; blanks around it do not count, and a logical may be true, .true., t, 1
 * or false, .false., f, 0. Fails with CLIMLINK_ERROR_ARGUMENT for an unknown name (naming near
 * names) or a value that does not fit; the option is then as before. */
CLIMLINK_API climlink_status climlink_options_set(climlink_options* options, const char* name,
                                                  const char* value);
/* The value as text, a logical as true or false; valid until the next set of this option or free.
 */
CLIMLINK_API climlink_status climlink_options_get(const climlink_options* options, const char* name,
                                                  const char** value);
/* Frees the options and sets *options to NULL; freeing NULL is allowed. Emulators that were opened
 * with them do not need them. */
CLIMLINK_API climlink_status climlink_options_free(climlink_options** options);

/* Opens a package: digest, archive, manifest (before any deserialization), host claims, device,
 * load, code, freeze, warm-up, golden replay. A package is code: one whose graph does more than
 * compute is refused before it acts, unless the option trust_code is true. With constraints_off the
 * golden columns are replayed with every constraint on, then the graph is loaded again without
 * these. On failure *emulator is NULL. options may be NULL (defaults). */
CLIMLINK_API climlink_status climlink_open(const char* path, const climlink_options* options,
                                           climlink_emulator** emulator);
/* The same from memory (one rank reads, the others receive by broadcast); name is used in messages
 * only. */
CLIMLINK_API climlink_status climlink_open_bytes(const void* bytes, int64_t size, const char* name,
                                                 const climlink_options* options,
                                                 climlink_emulator** emulator);

/* Ranks of one node may share one network. Rank 0 of the group, the leader, opens it and runs it on
 * the columns of all; the others read the package without its network. Who calls knows MPI and
 * gives the memory; climlink's Fortran module does all this where its open is given a communicator.
 * Calls as before, with these differences: climlink_begin, climlink_run and climlink_range_use are
 * made by all ranks of the group in the same order, also by those without columns, and wait for
 * each other. A step that fails on a rank goes on without it; where it fails on the leader, it
 * fails on all with the leader's status and message. Where a rank has ended, or does not come
 * within the option group_timeout_s, every call fails with CLIMLINK_ERROR_GROUP.
 * climlink_run_packed is refused. */
typedef struct climlink_group {
  int32_t rank, size; /* of this process in the group, rank from 0 */
  int32_t host_rank;  /* this process's number in messages */
  void* control;      /* climlink_group_bytes(size) bytes that all ranks see, zero when the first
                         opens, aligned to 64 bytes; needed until close */
  /* Called by all ranks at once: frees what it gave before and gives all ranks the same bytes,
   * aligned to 64; NULL on all if it cannot. */
  void* (*allocate)(void* context, int64_t bytes);
  void* context;
} climlink_group;
CLIMLINK_API int64_t climlink_group_bytes(int32_t size);
CLIMLINK_API climlink_status climlink_open_in_group(const void* bytes, int64_t size,
                                                    const char* name,
                                                    const climlink_options* options,
                                                    const climlink_group* group,
                                                    climlink_emulator** emulator);
/* The caller failed with this message between climlink_begin and climlink_run: the others do not
 * wait for this rank before its next climlink_begin. Failed calls of this interface do it by
 * themselves. Nothing to do without a group. */
CLIMLINK_API climlink_status climlink_leave_step(climlink_emulator* emulator, const char* message);
/* Waits until every rank of the group is here, before climlink_close; the shared memory may be
 * freed after it. Fails with CLIMLINK_ERROR_GROUP if one does not come. */
CLIMLINK_API climlink_status climlink_leave_group(climlink_emulator* emulator);
/* Devices among which the option device lets the rank on the node choose: those that this process
 * sees for "cuda", "xpu" and "auto"; 0 for "cpu", for one by number, and where there is none.
 * Starts the driver to count. */
CLIMLINK_API climlink_status climlink_device_count(const char* device, int32_t* count);
/* Memory of this process in bytes: resident, and its share of it where pages that several processes
 * map are divided among them, so that the shares of a node add up. 0 where the system does not
 * tell. */
CLIMLINK_API climlink_status climlink_process_memory(int64_t* resident, int64_t* share);

/* Frees the emulator and sets *emulator to NULL; closing NULL is allowed. */
CLIMLINK_API climlink_status climlink_close(climlink_emulator** emulator);

/* Manifest as JSON text, package SHA-256 (64 hexadecimal digits), device in use such as "cpu" or
 * "cuda:1". Valid until close. */
CLIMLINK_API climlink_status climlink_manifest(const climlink_emulator* emulator,
                                               const char** json);
CLIMLINK_API climlink_status climlink_digest(const climlink_emulator* emulator,
                                             const char** sha256);
CLIMLINK_API climlink_status climlink_device(const climlink_emulator* emulator,
                                             const char** device);
/* Memory in bytes of the device that this rank's network is on: what torch's allocator holds of it
 * in this process, what is free for all processes, and all there is. 0 on the CPU, where another
 * rank of the group has the network, and where libtorch does not tell. */
CLIMLINK_API climlink_status climlink_device_memory(const climlink_emulator* emulator,
                                                    int64_t* held, int64_t* available,
                                                    int64_t* total);
/* What runs the network: "torchscript", or "aotinductor" where the option compiled was followed;
 * its precision, "float32" or "bfloat16"; and a note: which artefact runs, or the one reason why
 * the artefact that was asked for does not, what the tuning file lacks, and which forwards a device
 * has recorded or why not ("" where nothing was asked for). Valid until close. */
CLIMLINK_API climlink_status climlink_engine(const climlink_emulator* emulator,
                                             const char** engine);
CLIMLINK_API climlink_status climlink_precision(const climlink_emulator* emulator,
                                                const char** precision);
CLIMLINK_API climlink_status climlink_engine_note(const climlink_emulator* emulator,
                                                  const char** note);
/* Samples of a forward on the CPU: the option micro_batch, or the tuning file's, in whole granules
 * of the package. */
CLIMLINK_API climlink_status climlink_micro_batch(const climlink_emulator* emulator,
                                                  int64_t* n_row);
/* Constraints that the option constraints_off switched off, in the manifest's order, separated by
 * commas; "" for none. */
CLIMLINK_API climlink_status climlink_constraints_off(const climlink_emulator* emulator,
                                                      const char** names);
/* 1 if a constraint of the range policy (input_clip, range_relaxation) is in the package and not
 * switched off, else 0. */
CLIMLINK_API climlink_status climlink_has_range_policy(const climlink_emulator* emulator,
                                                       int32_t* yes);
/* What the graph asks of the host: "none", or "legacy" for an imported wrapper that relies on
 * E3SM's own post-processing. */
CLIMLINK_API climlink_status climlink_host_postprocessing(const climlink_emulator* emulator,
                                                          const char** policy);
/* Size of the dimension "level"; 0 where the package has none. */
CLIMLINK_API climlink_status climlink_level_count(const climlink_emulator* emulator,
                                                  int32_t* level_count);
/* Seconds; 0 where the package states none. */
CLIMLINK_API climlink_status climlink_time_step(const climlink_emulator* emulator,
                                                double* time_step_s);
/* Largest difference of the golden replay at open, in the manifest's measure. */
CLIMLINK_API climlink_status climlink_golden_difference(const climlink_emulator* emulator,
                                                        double* difference);

/* The variables of one role, in manifest order. total_width is the packed row length. */
CLIMLINK_API climlink_status climlink_variable_count(const climlink_emulator* emulator,
                                                     climlink_role role, int32_t* count,
                                                     int64_t* total_width);
CLIMLINK_API climlink_status climlink_variable(const climlink_emulator* emulator,
                                               climlink_role role, int32_t index, const char** name,
                                               const char** units, int64_t* width, int64_t* offset);
/* Names and sizes [n_dim] of a variable's dimensions, in packed order (last fastest); n_dim is 0
 * for a scalar. Valid until close. */
CLIMLINK_API climlink_status climlink_variable_dims(const climlink_emulator* emulator,
                                                    climlink_role role, int32_t index,
                                                    int32_t* n_dim, const char* const** names,
                                                    const int64_t** sizes);
/* What a variable is for: "value", "confidence" (outputs), "carried" (an output that is an input of
 * the next step), "start" (the input that says whether a sample begins). */
CLIMLINK_API climlink_status climlink_variable_role(const climlink_emulator* emulator,
                                                    climlink_role role, int32_t index,
                                                    const char** text);
/* Size of a dimension; 0 where the package has none of that name. */
CLIMLINK_API climlink_status climlink_dim_size(const climlink_emulator* emulator, const char* dim,
                                               int64_t* size);
/* Compares the host's coordinate values [n] of a dimension with the package's; passes where the
 * package has none. Fails with CLIMLINK_ERROR_HOST where n or a value differs (by more than 1e-3 of
 * the smallest distance between neighbours), or with CLIMLINK_ERROR_VARIABLE for a dimension that
 * the package does not have. */
CLIMLINK_API climlink_status climlink_require_coordinate(const climlink_emulator* emulator,
                                                         const char* dim, const double* values,
                                                         int64_t n);
/* The carried pairs: the output of a step that the host hands back as an input of the next one.
 * Valid until close. */
CLIMLINK_API climlink_status climlink_carried_count(const climlink_emulator* emulator,
                                                    int32_t* count);
CLIMLINK_API climlink_status climlink_carried(const climlink_emulator* emulator, int32_t index,
                                              const char** output, const char** input);
/* Fails with CLIMLINK_ERROR_VARIABLE (naming near names) or CLIMLINK_ERROR_HOST (units differ). */
CLIMLINK_API climlink_status climlink_require_units(const climlink_emulator* emulator,
                                                    climlink_role role, const char* name,
                                                    const char* units);

/* Holds a host's variables [n] against the package, before the first step. One message names all
 * that does not fit: inputs that the host does not give and outputs that the package does not have
 * (with near names), other units, other dims, inputs that the host gives although they are carried
 * or start, and names that stand twice. What the package has beyond that is fine. Fails with
 * CLIMLINK_ERROR_VARIABLE where a name is missing or doubled, else with CLIMLINK_ERROR_HOST. */
CLIMLINK_API climlink_status climlink_check_host(const climlink_emulator* emulator,
                                                 const climlink_host_variable* variables,
                                                 int64_t n);
/* Hybrid coefficients of the package's interfaces [n], from the top down, n = levels + 1: the
 * pressure is p0_pa hyai + hybi ps, in Pa. n is 0, and the arrays NULL, where the package states
 * none. Valid until close. */
CLIMLINK_API climlink_status climlink_vertical_grid(const climlink_emulator* emulator,
                                                    double* p0_pa, const double** hyai,
                                                    const double** hybi, int64_t* n);

/* Starts a step of n_column columns (0 is legal); forgets what was set before. */
CLIMLINK_API climlink_status climlink_begin(climlink_emulator* emulator, int64_t n_column);
/* Copies (casting to float32) columns first_column .. first_column+extent[0]-1 (0-based) of one
 * input variable. Refuses NaN, Inf and values outside float32. May be called for the same variable
 * with different columns: every column of every variable must be set once. Carried inputs may be
 * left unset where "start" is 1: run writes zeros there, over what was set too. */
CLIMLINK_API climlink_status climlink_set(climlink_emulator* emulator, const char* name,
                                          const climlink_array* values, int64_t first_column);
/* Runs all columns; fails if anything is unset, "start" is neither 0 nor 1, or an output is not
 * finite. */
CLIMLINK_API climlink_status climlink_run(climlink_emulator* emulator);
/* How much the range policy holds each column of this step, [n_column] each: how many values the
 * network sees clipped, the heating by relaxation toward the training range (the mass integral of
 * |cp dT/dt|, W/m2) and the share of the column's mass that is relaxed, 0 to 1. Needs every input
 * set, before or after run, and n_column as begin was told; no network runs. All zero, at no cost,
 * where climlink_has_range_policy says 0. */
CLIMLINK_API climlink_status climlink_range_use(climlink_emulator* emulator, int64_t n_column,
                                                double* clipped, double* heating_w_m2,
                                                double* mass_share);
/* Copies columns of one output variable into caller memory. */
CLIMLINK_API climlink_status climlink_get(const climlink_emulator* emulator, const char* name,
                                          const climlink_array* values, int64_t first_column);

/* One call for packed rows: x [n_column, n_input], y [n_column, n_output], C order, float32, same
 * checks. Rows run as they are: carried inputs are not zeroed where "start" is 1. */
CLIMLINK_API climlink_status climlink_run_packed(climlink_emulator* emulator, const float* x,
                                                 int64_t n_column, int64_t n_input, float* y,
                                                 int64_t n_output);

#ifdef __cplusplus
}
#endif
#endif
