// Which device a rank uses: a pure function of what was asked for and what is there.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace climlink {

// cuda is also what a ROCm build of torch calls its devices.
enum class DeviceKind { cpu, cuda, xpu };

struct Device {
  DeviceKind kind = DeviceKind::cpu;
  int index = 0;  // of a device beside the CPU, always explicit

  bool on_host() const { return kind == DeviceKind::cpu; }
  // "cpu", "cuda" or "xpu".
  std::string type() const;
  // "cpu" or such as "cuda:1".
  std::string text() const { return on_host() ? type() : type() + ":" + std::to_string(index); }
  // Whose tolerance of a manifest holds here: "cpu", or "cuda" for every other device.
  std::string tolerance_type() const { return on_host() ? "cpu" : "cuda"; }
};

// The texts that choose_device knows, for messages.
constexpr const char* device_policies =
    "\"cpu\", \"cuda\", \"cuda:N\", \"xpu\", \"xpu:N\" or \"auto\"";

bool is_device_policy(const std::string& policy);

// How many devices of a kind this process sees.
using DeviceCount = std::function<int(DeviceKind)>;

// How many devices a policy lets local_rank choose among; 0 for the CPU or one device by number.
// Counts nothing then, as counting starts the driver.
int choices_of(std::string_view policy, const DeviceCount& count);

// policy: "cpu", "cuda" or "xpu" (local_rank modulo their count), "cuda:N" or "xpu:N", or "auto"
// (cuda where there is one, else cpu). Throws Error: ARGUMENT for another text or a negative rank,
// DEVICE where the device is not there.
Device choose_device(std::string_view policy, int local_rank, const DeviceCount& count);

}  // namespace climlink
