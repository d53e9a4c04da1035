#include "backend_aotinductor.hpp"

#include <torch/csrc/inductor/aoti_runner/model_container_runner.h>
#include <torch/version.h>

#include <memory>
#include <utility>
#include <vector>

#include "backend.hpp"
#include "error.hpp"

namespace climlink {

#if TORCH_VERSION_MINOR >= 7

std::string_view compiled_version() noexcept {
  // Without the build's own suffix, such as "+cpu".
  constexpr std::string_view whole = TORCH_VERSION;
  return whole.substr(0, whole.find('+'));
}

std::function<at::Tensor(at::Tensor)> compiled_forward(const std::string& library_path,
                                                       const Device& device) {
  // By its registry, so that a libtorch without CUDA needs none of its headers.
  const auto& makers = torch::inductor::getAOTIModelRunnerRegistry();
  const auto maker = makers.find(device.type());
  if (maker == makers.end())
    fail(CLIMLINK_ERROR_BACKEND, "this libtorch runs no compiled code on ", device.type());
  const std::shared_ptr<torch::inductor::AOTIModelContainerRunner> runner =
      maker->second(library_path, 1, device.text(), "", /*run_single_threaded=*/true);
  return [runner](at::Tensor input) {
    std::vector<at::Tensor> inputs{std::move(input)};
    std::vector<at::Tensor> outputs = runner->run(inputs);
    if (outputs.size() != 1)
      fail(CLIMLINK_ERROR_GRAPH, "the compiled code returns ", outputs.size(),
           " tensors; expected one");
    return outputs.front();
  };
}

#else

std::string_view compiled_version() noexcept { return ""; }

std::function<at::Tensor(at::Tensor)> compiled_forward(const std::string& /*library_path*/,
                                                       const Device& /*device*/) {
  fail(CLIMLINK_ERROR_BACKEND, "libtorch ", TORCH_VERSION, " runs no compiled code; 2.7 does");
}

#endif

}  // namespace climlink
