// What Linux tells of this processor.
#pragma once

#include <string>
#include <vector>

namespace climlink {

// Its model, such as "AMD EPYC 9654 96-Core Processor"; "unknown" where Linux does not tell.
std::string processor_name();

// Its instruction sets and features, as Linux names them; none where Linux does not tell.
std::vector<std::string> processor_flags();

}  // namespace climlink
