// Any text is a configuration or an Error, as a file's and as a command line's; so is any text of a run's progress.

#include "examples/support/settings.h"

#include <nlohmann/json.hpp>

#include <cstdlib>

#include "examples/support/program.h"
#include "examples/support/saved_progress.h"
#include "framework/error.h"
#include "tests/fuzz/memory_file.h"
#include "tests/fuzz/seeds.h"

using namespace attune;
using namespace attune::examples;

namespace {

/// One setting of each kind.
struct Config {
  int64_t dim = 3;
  uint64_t seed = 1;
  double dropout = 0;
  bool truncate = false;
  std::string pooling = "mean";
  std::string data;

  Settings settings() {
    return Settings("attune-fuzz", {{"model", "dim", WholeSetting{&dim, 1, 8192}},
                                    {"run", "seed", SeedSetting{&seed}},
                                    {"model", "dropout", NumberSetting{&dropout, 0, 1}},
                                    {"text", "truncate", SwitchSetting{&truncate}},
                                    {"model", "pooling", TextSetting{&pooling, {"mean", "first"}}},
                                    {"run", "data", TextSetting{&data}}});
  }
};

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  testing::write_seeds(*argc, *argv,
                       {R"({"program": "attune-fuzz", "model": {"dim": 7, "dropout": 0.5, "pooling": "first"}})",
                        R"({"run": {"seed": 18446744073709551615, "data": "\u00e9"}, "text": {"truncate": true}})",
                        "model.dim=64", "model.dropout=1e999", "run.data=[[\"a\"]]",
                        R"({"step": 3, "data": {"seed": 1, "epoch": 0, "batch": 2, "fingerprint": 5},
                            "since_evaluation": {"loss_sum": 1.5, "tokens": 7}, "best_step": 0, "waited": 0})"});
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  Config config;
  Settings settings = config.settings();
  try {
    settings.update_from_json(text, "config.json");
    if (config.dim < 1 || config.dim > 8192 || !(config.dropout >= 0 && config.dropout < 1)) std::abort();
    settings.update_from_json(settings.to_json(), "again");
  } catch (const FormatError& error) {
    testing::require_message(error.what());
  }
  try {
    settings.update_from_setting(text);
  } catch (const UsageError& error) {
    testing::require_message(error.what());
  }
  try {
    const nlohmann::ordered_json progress = progress_json(text, "attune-fuzz");
    if (progress.contains("step") && progress.at("step").get<int64_t>() < 0) std::abort();
  } catch (const FormatError& error) {
    testing::require_message(error.what());
  }
  return 0;
}
