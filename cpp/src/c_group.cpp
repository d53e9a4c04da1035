// The part of the C interface for ranks that share one network.
#include <memory>

#include "backend.hpp"
#include "c_guard.hpp"
#include "c_handle.hpp"
#include "group.hpp"
#include "process_memory.hpp"

using climlink::checked;
using climlink::fail;
using climlink::guarded;
using climlink::need;

int64_t climlink_group_bytes(int32_t size) { return climlink::group_memory_bytes(size); }

climlink_status climlink_open_in_group(const void* bytes, int64_t size, const char* name,
                                       const climlink_options* options, const climlink_group* group,
                                       climlink_emulator** emulator) {
  return guarded([&] {
    need(emulator, "emulator");
    *emulator = nullptr;
    need(bytes, "bytes");
    need(name, "name");
    need(group, "group");
    if (size < 0)
      fail(CLIMLINK_ERROR_ARGUMENT, "size is ", size, "; expected the number of bytes, 0 or more");
    const climlink::Options defaults;
    const climlink::Options& chosen = options != nullptr ? options->values : defaults;
    *emulator = new climlink_emulator(
        {static_cast<const char*>(bytes), static_cast<std::size_t>(size)}, name, chosen,
        std::make_unique<climlink::Group>(*group, chosen.integer("group_timeout_s")));
  });
}

climlink_status climlink_leave_step(climlink_emulator* emulator, const char* message) {
  return guarded([&] {
    need(message, "message");
    if (auto* group = checked(emulator).group()) group->leave_step(CLIMLINK_ERROR_STATE, message);
  });
}

climlink_status climlink_leave_group(climlink_emulator* emulator) {
  return guarded([&] {
    if (auto* group = checked(emulator).group()) group->leave();
  });
}

climlink_status climlink_device_count(const char* device, int32_t* count) {
  return guarded([&] {
    need(device, "device");
    need(count, "count");
    *count = climlink::choices_of(device, climlink::backend_device_count);
  });
}

climlink_status climlink_process_memory(int64_t* resident, int64_t* share) {
  return guarded([&] {
    need(resident, "resident");
    need(share, "share");
    const auto memory = climlink::process_memory();
    *resident = memory.resident;
    *share = memory.share;
  });
}
