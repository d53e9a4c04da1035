#include "process_memory.hpp"

#include <fstream>
#include <limits>
#include <string>

namespace climlink {

// Linux: "Rss:  1234 kB" and "Pss:  1234 kB" (proportional set size) among other lines.
ProcessMemory process_memory() {
  constexpr std::int64_t kilobyte = 1024;
  ProcessMemory memory;
  std::ifstream file("/proc/self/smaps_rollup");
  std::string name;
  file.ignore(std::numeric_limits<std::streamsize>::max(), '\n');  // the range of addresses
  while (file >> name) {
    std::int64_t count = 0;
    file >> count;
    if (name == "Rss:") memory.resident = count * kilobyte;
    if (name == "Pss:") memory.share = count * kilobyte;
    file.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  return memory;
}

}  // namespace climlink
