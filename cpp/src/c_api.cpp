// The C interface: no exception leaves it, and every failure leaves a message for its thread.
#include <cstdlib>
#include <cstring>
#include <new>

#include "backend.hpp"
#include "c_guard.hpp"
#include "c_handle.hpp"
#include "device.hpp"
#include "engine.hpp"
#include "package.hpp"
#include "processor.hpp"

namespace {

using climlink::checked;
using climlink::fail;
using climlink::guarded;
using climlink::need;

// Room for all that a host and a large package have against each other.
constexpr std::size_t longest_message = 16384;
// Fixed storage: a message about exhausted memory must not need memory.
thread_local char last_message[longest_message] = "";

std::string_view checked_bytes(const void* bytes, int64_t size, const char* name) {
  need(bytes, "bytes");
  need(name, "name");
  if (size < 0)
    fail(CLIMLINK_ERROR_ARGUMENT, "size is ", size, "; expected the number of bytes, 0 or more");
  return {static_cast<const char*>(bytes), static_cast<std::size_t>(size)};
}

// Hands contents to the caller, who frees them with climlink_free.
void give(const std::string& contents, void** bytes, int64_t* size) {
  void* copy = std::malloc(contents.empty() ? 1 : contents.size());
  if (copy == nullptr) throw std::bad_alloc();
  std::memcpy(copy, contents.data(), contents.size());
  *bytes = copy;
  *size = static_cast<int64_t>(contents.size());
}

climlink_emulator* open_bytes(std::string_view bytes, const char* name,
                              const climlink_options* options) {
  const climlink::Options defaults;
  return new climlink_emulator(bytes, name, options != nullptr ? options->values : defaults);
}

}  // namespace

climlink_status climlink::remember(climlink_status status, const char* message) noexcept {
  std::strncpy(last_message, message, longest_message - 1);
  last_message[longest_message - 1] = '\0';
  return status;
}

const char* climlink_version(void) { return CLIMLINK_VERSION; }

const char* climlink_backend(void) { return climlink::backend_name().data(); }

const char* climlink_processor_name(void) {
  static const std::string name = climlink::processor_name();
  return name.c_str();
}

const char* climlink_status_name(climlink_status status) {
  switch (status) {
    case CLIMLINK_OK:
      return "ok";
    case CLIMLINK_ERROR_ARGUMENT:
      return "argument";
    case CLIMLINK_ERROR_FILE:
      return "file";
    case CLIMLINK_ERROR_PACKAGE:
      return "package";
    case CLIMLINK_ERROR_SCHEMA:
      return "schema";
    case CLIMLINK_ERROR_DIGEST:
      return "digest";
    case CLIMLINK_ERROR_HOST:
      return "host";
    case CLIMLINK_ERROR_VARIABLE:
      return "variable";
    case CLIMLINK_ERROR_SHAPE:
      return "shape";
    case CLIMLINK_ERROR_NONFINITE:
      return "nonfinite";
    case CLIMLINK_ERROR_GOLDEN:
      return "golden";
    case CLIMLINK_ERROR_GRAPH:
      return "graph";
    case CLIMLINK_ERROR_DEVICE:
      return "device";
    case CLIMLINK_ERROR_BACKEND:
      return "backend";
    case CLIMLINK_ERROR_STATE:
      return "state";
    case CLIMLINK_ERROR_INTERNAL:
      return "internal";
    case CLIMLINK_ERROR_GROUP:
      return "group";
  }
  return "unknown";
}

const char* climlink_last_message(void) { return last_message; }

climlink_status climlink_read_file(const char* path, void** bytes, int64_t* size) {
  return guarded([&] {
    need(path, "path");
    need(bytes, "bytes");
    need(size, "size");
    *bytes = nullptr;
    *size = 0;
    give(climlink::read_file(path), bytes, size);
  });
}

void climlink_free(void* bytes) { std::free(bytes); }

climlink_status climlink_check_archive(const void* bytes, int64_t size, const char* name) {
  return guarded([&] { climlink::check_archive(checked_bytes(bytes, size, name), name); });
}

climlink_status climlink_check_code(const void* bytes, int64_t size, const char* name) {
  return guarded([&] { climlink::check_code(checked_bytes(bytes, size, name), name); });
}

climlink_status climlink_read_entry(const void* bytes, int64_t size, const char* name,
                                    const char* suffix, void** contents, int64_t* contents_size) {
  return guarded([&] {
    need(contents, "contents");
    need(contents_size, "contents_size");
    need(suffix, "suffix");
    *contents = nullptr;
    *contents_size = 0;
    give(climlink::read_entry(checked_bytes(bytes, size, name), name, suffix), contents,
         contents_size);
  });
}

climlink_status climlink_compiled_obstacle(const void* bytes, int64_t size, const char* name,
                                           const char* compiled, const char* device, void** text,
                                           int64_t* text_size) {
  return guarded([&] {
    need(compiled, "compiled");
    need(device, "device");
    need(text, "text");
    need(text_size, "text_size");
    *text = nullptr;
    *text_size = 0;
    const auto package = climlink::read_package(checked_bytes(bytes, size, name), name, "", {});
    const auto chosen = climlink::choose_device(device, 0, climlink::backend_device_count);
    give(climlink::obstacle_to(compiled, package, chosen), text, text_size);
  });
}

climlink_status climlink_open(const char* path, const climlink_options* options,
                              climlink_emulator** emulator) {
  return guarded([&] {
    need(emulator, "emulator");
    *emulator = nullptr;
    need(path, "path");
    *emulator = open_bytes(climlink::read_file(path), path, options);
  });
}

climlink_status climlink_open_bytes(const void* bytes, int64_t size, const char* name,
                                    const climlink_options* options, climlink_emulator** emulator) {
  return guarded([&] {
    need(emulator, "emulator");
    *emulator = nullptr;
    *emulator = open_bytes(checked_bytes(bytes, size, name), name, options);
  });
}

climlink_status climlink_close(climlink_emulator** emulator) {
  return guarded([&] {
    need(emulator, "emulator");
    delete *emulator;
    *emulator = nullptr;
  });
}

climlink_status climlink_begin(climlink_emulator* emulator, int64_t n_column) {
  return guarded([&] { checked(emulator).begin(n_column); });
}

climlink_status climlink_set(climlink_emulator* emulator, const char* name,
                             const climlink_array* values, int64_t first_column) {
  return guarded([&] {
    need(name, "name");
    need(values, "values");
    checked(emulator).set(name, *values, first_column);
  });
}

climlink_status climlink_run(climlink_emulator* emulator) {
  return guarded([&] { checked(emulator).run(); });
}

climlink_status climlink_range_use(climlink_emulator* emulator, int64_t n_column, double* clipped,
                                   double* heating_w_m2, double* mass_share) {
  return guarded([&] {
    auto& opened = checked(emulator);
    if (n_column > 0) {
      need(clipped, "clipped");
      need(heating_w_m2, "heating_w_m2");
      need(mass_share, "mass_share");
    }
    opened.range_use(n_column, clipped, heating_w_m2, mass_share);
  });
}

climlink_status climlink_get(const climlink_emulator* emulator, const char* name,
                             const climlink_array* values, int64_t first_column) {
  return guarded([&] {
    need(name, "name");
    need(values, "values");
    checked(emulator).get(name, *values, first_column);
  });
}

climlink_status climlink_run_packed(climlink_emulator* emulator, const float* x, int64_t n_column,
                                    int64_t n_input, float* y, int64_t n_output) {
  return guarded([&] { checked(emulator).run_packed(x, n_column, n_input, y, n_output); });
}
