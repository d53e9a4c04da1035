#include "torch_support.hpp"

#include <ATen/Context.h>
#include <caffe2/serialize/inline_container.h>
#include <caffe2/serialize/read_adapter_interface.h>
#include <torch/csrc/jit/serialization/import.h>
#include <torch/version.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "code_check.hpp"
#include "error.hpp"

static_assert(TORCH_VERSION_MAJOR == 2, "the guards below compare minor versions of libtorch 2");

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

#if TORCH_VERSION_MINOR >= 10
using Precision = at::Float32Precision;
constexpr auto ieee = Precision::IEEE, none = Precision::NONE;
constexpr auto on_cpu = at::Float32Backend::MKLDNN, on_cuda = at::Float32Backend::CUDA;
constexpr std::array operations = {at::Float32Op::CONV, at::Float32Op::RNN, at::Float32Op::MATMUL};
#elif TORCH_VERSION_MINOR == 9
using Precision = std::string;
const std::string ieee = "ieee", none = "none", on_cpu = "mkldnn", on_cuda = "cuda";
const std::array<std::string, 3> operations = {"conv", "rnn", "matmul"};
#endif

}  // namespace

// TorchScript wraps the reason in pages of traceback; the reason is its last "...Error: " line.
std::string reason(const std::exception& error) {
  const auto* torch_error = dynamic_cast<const c10::Error*>(&error);
  const std::string whole =
      torch_error != nullptr ? torch_error->what_without_backtrace() : error.what();
  const std::size_t marker = whole.rfind("Error: ");
  const std::size_t start = marker == std::string::npos ? 0 : marker + 7;
  const std::size_t first = whole.find_first_not_of(" \n", start);
  if (first == std::string::npos) return "no reason given";
  return whole.substr(first, whole.find('\n', first) - first);
}

c10::Device torch_device(const Device& device) {
  if (device.on_host()) return c10::Device(c10::kCPU);
  return {device.kind == DeviceKind::cuda ? c10::kCUDA : c10::kXPU,
          static_cast<c10::DeviceIndex>(device.index)};
}

std::string shape_of(const at::Tensor& t) {
  return text(c10::toString(t.scalar_type()), " ", t.sizes());
}

torch::jit::Module deserialize(std::string_view bytes, const std::string& name, c10::Device device,
                               Code code) {
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
    fail(CLIMLINK_ERROR_BACKEND, name, ": no memory for the network on ", device.str(), ": ",
         reason(error));
#if TORCH_VERSION_MINOR >= 8
  } catch (const c10::AcceleratorError& error) {
    fail(CLIMLINK_ERROR_BACKEND, name, ": the network could not be placed on ", device.str(), ": ",
         reason(error));
#endif
  } catch (const std::exception& error) {
    fail(CLIMLINK_ERROR_PACKAGE, name,
         ": the file does not hold a TorchScript module that this libtorch reads (no TorchScript "
         "module at all, or one of a newer torch): ",
         reason(error),
         ". Export it again, with a torch no newer than the one climlink is built with");
  }
}

#if TORCH_VERSION_MINOR >= 9
Float32Scope::Float32Scope(const Device& device) {
  const bool cuda = device.kind == DeviceKind::cuda;  // oneDNN serves the others, XPU too
  const auto& backend = cuda ? on_cuda : on_cpu;
  // "none" means "no reduced precision" on the CPU; on CUDA convolutions it may still allow TF32.
  const auto must_change = [cuda](const Precision& p) { return p != ieee && (cuda || p != none); };
  std::array<Precision, operations.size()> before{};
  auto& context = at::globalContext();
  for (std::size_t i = 0; i < operations.size(); ++i) {
    before[i] = context.float32Precision(backend, operations[i]);
    if (must_change(before[i])) context.setFloat32Precision(backend, operations[i], ieee);
  }
  give_back_ = [=, &context] {
    for (std::size_t i = 0; i < operations.size(); ++i) {
      if (must_change(before[i])) context.setFloat32Precision(backend, operations[i], before[i]);
    }
  };
}
#else
Float32Scope::Float32Scope(const Device& /*device*/) {
  auto& context = at::globalContext();
  const auto products = context.float32MatmulPrecision();
  const bool convolutions = context.allowTF32CuDNN();
  context.setFloat32MatmulPrecision(at::Float32MatmulPrecision::HIGHEST);
  context.setAllowTF32CuDNN(false);
  give_back_ = [=, &context] {
    context.setFloat32MatmulPrecision(products);
    context.setAllowTF32CuDNN(convolutions);
  };
}
#endif

Float32Scope::~Float32Scope() { give_back_(); }

}  // namespace climlink
