#include "graph_function.hpp"

#include <torch/csrc/jit/passes/common_subexpression_elimination.h>
#include <torch/csrc/jit/passes/constant_propagation.h>
#include <torch/csrc/jit/passes/inliner.h>
#include <torch/csrc/jit/passes/peephole.h>
#include <torch/csrc/jit/runtime/graph_executor.h>

#include <memory>
#include <utility>

#include "error.hpp"
#include "torch_support.hpp"

namespace climlink {
namespace {

// On a device TorchScript's usual executor profiles the first forwards and then lets its fuser
// compile kernels for the sizes that it saw, which takes from seconds to minutes for a large
// network and again for other sizes. The fuser's switch is the process' own, and a host in Python
// may want it. So a graph here gets an executor of its own that runs it operator by operator:
// nothing of the process changes, and no other graph. What does not depend on sizes is simplified
// once.
Function plain_executor(const torch::jit::Method& method) {
  std::shared_ptr<torch::jit::Graph> graph = method.graph()->copy();
  torch::jit::Inline(*graph);
  torch::jit::ConstantPropagation(graph);
  torch::jit::EliminateCommonSubexpression(graph);
  torch::jit::PeepholeOptimize(graph);
  const auto executor = std::make_shared<torch::jit::GraphExecutor>(
      graph, method.name(), torch::jit::ExecutorExecutionMode::SIMPLE);
  return [executor, self = method.owner()._ivalue()](at::Tensor input) {
    torch::jit::Stack stack{self, std::move(input)};
    executor->run(stack);
    return stack.back();
  };
}

}  // namespace

Function method_function(const torch::jit::Method& method, const Device& device) {
  if (!device.on_host()) return plain_executor(method);
  return [method](at::Tensor input) mutable { return method({std::move(input)}); };
}

// Only here, where the device is known, as freezing folds the buffers into constants. Where a
// frozen graph throws, libtorch names the functions that were inlined into it through pointers that
// keep nothing alive, and freezing itself deletes those that it inlines (a crash, seen with
// torch 2.13). So they are inlined before, and kept.
Function frozen_function(const torch::jit::Module& module, const std::string& name,
                         const Device& device) {
  try {
    torch::jit::Inline(*module.get_method("forward").graph());
    const torch::jit::Module frozen = torch::jit::freeze(module);
    return [run = method_function(frozen.get_method("forward"), device), frozen,
            functions = module._ivalue()->compilation_unit()](at::Tensor input) {
      return run(std::move(input));
    };
  } catch (const std::exception& error) {
    fail(CLIMLINK_ERROR_BACKEND, name, ": libtorch could not freeze the graph: ", reason(error));
  }
}

}  // namespace climlink
