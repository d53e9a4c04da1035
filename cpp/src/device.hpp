// Which device a rank uses: a pure function of what was asked for and what is there.
#pragma once

#include <string>
#include <string_view>

namespace climlink {

struct Device {
  bool cuda = false;
  int index = 0;  // CUDA device, always explicit

  std::string type() const { return cuda ? "cuda" : "cpu"; }
  // "cpu" or such as "cuda:1".
  std::string text() const { return cuda ? "cuda:" + std::to_string(index) : "cpu"; }
};

// The texts that choose_device knows, for messages.
constexpr const char* device_policies = "\"cpu\", \"cuda\", \"cuda:N\" or \"auto\"";

bool is_device_policy(const std::string& policy);

// policy: "cpu", "cuda" (local_rank modulo device_count), "cuda:N", or "auto" (cuda where
// device_count > 0, else cpu). Throws Error: ARGUMENT for another text or a negative rank, DEVICE
// where the device is not there.
Device choose_device(std::string_view policy, int local_rank, int device_count);

}  // namespace climlink
