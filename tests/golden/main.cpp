// attune-golden FILE...: does Attune compute what PyTorch computed? One line per case and dtype; exit status 1 on any
// mismatch or unreadable file.

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "framework/error.h"
#include "tests/golden/layers.h"

namespace attune::golden {

const Layer* find_layer(const std::string& name) {
  for (const auto* family :
       {&kBasicLayers, &kAttentionLayers, &kTransformerLayers, &kRecurrentLayers, &kPictureLayers, &kOptimizers}) {
    for (const Layer& layer : *family) {
      if (name == layer.name) return &layer;
    }
  }
  return nullptr;
}

namespace {

struct Count {
  int ok = 0;
  int failed = 0;
  int skipped = 0;
};

/// The worst of all paths that the layer has.
Verdict compute(const Case& given, const Layer& layer, DType dtype, Device device) {
  Verdict worst;
  for (AttentionPath path : {AttentionPath::kFused, AttentionPath::kComposed}) {
    if (path == AttentionPath::kComposed && !layer.has_paths) break;
    Session session(given, dtype, device);
    Options options(given.config);
    layer.run(session, options, path);
    options.finish();
    session.check_inputs();
    const Verdict verdict = session.verdict();
    worst.max_error = std::max(worst.max_error, verdict.max_error);
    worst.share = std::max(worst.share, verdict.share);
    if (!verdict.ok && worst.ok) {
      worst.ok = false;
      const char* name = path == AttentionPath::kFused ? "fused: " : "composed: ";
      worst.detail = (layer.has_paths ? name : "") + verdict.detail;
    }
  }
  return worst;
}

void run_case(const Case& given, const std::string& file, DType dtype, Device device, Count& count) {
  const std::string label = fmt::format("{} {} {} {}", file, given.name, given.layer, dtype_name(dtype));
  try {
    const Layer* layer = find_layer(given.layer);
    if (layer == nullptr) throw Skip("Attune has no such layer yet");
    const Verdict verdict = compute(given, *layer, dtype, device);
    if (verdict.ok) {
      ++count.ok;
      fmt::print("OK    {}: max error {:.2g}, {:.2g} of the tolerance\n", label, verdict.max_error, verdict.share);
    } else {
      ++count.failed;
      fmt::print("FAIL  {}: {}; max error {:.2g}, {:.2g} of the tolerance\n", label, verdict.detail, verdict.max_error,
                 verdict.share);
    }
  } catch (const Skip& reason) {
    ++count.skipped;
    fmt::print("SKIP  {}: {}\n", label, reason.what());
  } catch (const std::exception& error) {
    ++count.failed;
    fmt::print("FAIL  {}: {}\n", label, error.what());
  }
}

int run(const std::vector<std::string>& files, const std::vector<DType>& dtypes, Device device) {
  Count count;
  int unreadable = 0;
  for (const std::string& file : files) {
    try {
      const std::string name = std::filesystem::path(file).filename().string();
      for (const Case& given : read_cases(file)) {
        for (DType dtype : dtypes) run_case(given, name, dtype, device, count);
      }
    } catch (const std::exception& error) {
      ++unreadable;
      std::fflush(stdout);
      std::fprintf(stderr, "error: %s\n", error.what());  // a full disk throws nothing
    }
  }
  fmt::print("{} OK, {} failed, {} skipped, {} unreadable files\n", count.ok, count.failed, count.skipped, unreadable);
  return count.failed == 0 && unreadable == 0 ? 0 : 1;
}

}  // namespace
}  // namespace attune::golden

int main(int argc, char** argv) {
  CLI::App app{"Compares Attune's layers, losses and optimizers with what PyTorch computed: values and all gradients."};
  std::vector<std::string> files;
  std::vector<std::string> names;
  app.add_option("files", files, "golden files, HDF5 of the format attune-golden-1")->required();
  app.add_option("--dtype", names, "compute in float32 or float64 only; both otherwise")
      ->check(CLI::IsMember({"float32", "float64"}));
  std::string device = "cpu";
  app.add_option("--device", device, "where to compute: cpu, cuda, cuda:1 ..., or auto (cuda where there is one)");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  attune::Device where;
  try {
    where = attune::parse_device(device);
    attune::require_device(where);
  } catch (const attune::Error& error) {
    std::fprintf(stderr, "error: %s\n", error.what());  // a full disk throws nothing
    return 1;
  }
  if (names.empty()) names = {"float64", "float32"};
  std::vector<attune::DType> dtypes;
  for (const std::string& name : names) dtypes.push_back(attune::parse_dtype(name));
  return attune::golden::run(files, dtypes, where);
}
