#include "torch_support.hpp"

#include <caffe2/serialize/inline_container.h>
#include <caffe2/serialize/read_adapter_interface.h>
#include <torch/csrc/jit/serialization/import.h>

#include <algorithm>
#include <cstring>

#include "code_check.hpp"
#include "error.hpp"

namespace climlink {
namespace {

// Lets libtorch read the package where it lies; valid during load only.
class MemoryReader final : public caffe2::serialize::ReadAdapterInterface {
 public:
  explicit MemoryReader(std::string_view bytes) : bytes_(bytes) {}
  size_t size() const override { return bytes_.size(); }
  size_t read(uint64_t position, void* buffer, size_t n, const char* /*what*/) const override {
    if (position >= bytes_.size()) return 0;
    const size_t count = std::min(n, bytes_.size() - static_cast<size_t>(position));
    std::memcpy(buffer, bytes_.data() + position, count);
    return count;
  }

 private:
  std::string_view bytes_;
};

}  // namespace

// TorchScript wraps the reason in pages of traceback; the reason is its last "...Error: " line.
std::string reason(const std::exception& error) {
  const auto* torch_error = dynamic_cast<const c10::Error*>(&error);
  const std::string whole = torch_error != nullptr ? torch_error->what_without_backtrace() : error.what();
  const std::size_t marker = whole.rfind("Error: ");
  const std::size_t start = marker == std::string::npos ? 0 : marker + 7;
  const std::size_t first = whole.find_first_not_of(" \n", start);
  if (first == std::string::npos) return "no reason given";
  return whole.substr(first, whole.find('\n', first) - first);
}

c10::Device torch_device(const Device& device) {
  return device.cuda ? c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(device.index)) : c10::Device(c10::kCPU);
}

std::string shape_of(const at::Tensor& t) { return text(c10::toString(t.scalar_type()), " ", t.sizes()); }

torch::jit::Module deserialize(std::string_view bytes, const std::string& name, c10::Device device, Code code) {
  try {
    const auto reader = std::make_shared<MemoryReader>(bytes);
    if (code == Code::checked) {
      caffe2::serialize::PyTorchStreamReader archive(reader);
      check_code_entries(archive, name);
    }
    torch::jit::Module module = torch::jit::load(reader, device, /*load_debug_files=*/false);
    if (code == Code::checked) check_operators(module, name);
    return module;
  } catch (const Error&) {
    throw;
  } catch (const c10::OutOfMemoryError& error) {
    fail(CLIMLINK_ERROR_BACKEND, name, ": no memory for the network on ", device.str(), ": ", reason(error));
  } catch (const c10::AcceleratorError& error) {
    fail(CLIMLINK_ERROR_BACKEND, name, ": the network could not be placed on ", device.str(), ": ", reason(error));
  } catch (const std::exception& error) {
    fail(CLIMLINK_ERROR_PACKAGE, name,
         ": the file does not hold a TorchScript module that this libtorch reads (no TorchScript module at all, or one of a newer torch): ",
         reason(error), ". Export it again, with a torch no newer than the one climlink is built with");
  }
}

}  // namespace climlink
