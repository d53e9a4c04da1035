// How much memory this process takes.
#pragma once

#include <cstdint>

namespace climlink {

// In bytes; 0 where the system does not tell.
struct ProcessMemory {
  std::int64_t resident = 0;
  std::int64_t share = 0;  // pages that several processes map are divided among them
};

ProcessMemory process_memory();

}  // namespace climlink
