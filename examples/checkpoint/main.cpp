// attune-checkpoint: shows, verifies and compares checkpoints.
#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <unordered_map>

#include "examples/checkpoint/compare.h"
#include "examples/support/notice.h"
#include "examples/support/program.h"
#include "examples/support/table.h"
#include "framework/error.h"
#include "framework/json_text.h"
#include "framework/text.h"
#include "framework/version.h"

namespace attune::examples {
namespace {

using Json = nlohmann::ordered_json;
using Align = Table::Align;

/// Of a setting's value.
constexpr size_t kShownBytes = 200;

/// On one line, as the last thing that is printed. File names need not be UTF-8.
void print_json(const Json& json) { fmt::print("{}\n", json.dump(-1, ' ', false, Json::error_handler_t::replace)); }

std::string extents(const Checkpoint::Entry& entry) {
  return std::holds_alternative<std::string>(entry.value) ? "" : fmt::format("[{}]", fmt::join(entry.shape(), ", "));
}

struct Listed {
  const Checkpoint::Entry* entry;
  std::string same_as;  ///< path of an earlier entry whose memory it shares
};

std::vector<Listed> listed(const Checkpoint& checkpoint) {
  std::vector<Listed> out;
  std::unordered_map<const Storage*, std::vector<const Checkpoint::Entry*>> seen;
  for (const auto& entry : checkpoint.entries()) {
    Listed next{&entry, ""};
    if (const auto* tensor = std::get_if<Tensor>(&entry.value)) {
      auto& earlier = seen[tensor->storage().get()];
      const auto same = std::find_if(earlier.begin(), earlier.end(), [&](const Checkpoint::Entry* other) {
        return same_memory(std::get<Tensor>(other->value), *tensor);
      });
      if (same != earlier.end()) {
        next.same_as = (*same)->path;
      } else {
        earlier.push_back(&entry);
      }
    }
    out.push_back(std::move(next));
  }
  return out;
}

/// Elements below model/, shared ones counted once, and their bytes.
struct Size {
  int64_t parameters = 0;
  int64_t bytes = 0;
};
Size model_size(const std::vector<Listed>& entries) {
  Size size;
  for (const auto& [entry, same_as] : entries) {
    const auto* tensor = std::get_if<Tensor>(&entry->value);
    if (tensor == nullptr || !same_as.empty() || !entry->path.starts_with("model/")) continue;
    size.parameters += tensor->numel();
    size.bytes += entry->bytes();
  }
  return size;
}

void print_contents(const std::string& file, const Checkpoint& checkpoint) {
  const auto entries = listed(checkpoint);
  fmt::print("{}: checkpoint format {}, written by Attune {}\n\n", one_line(file), checkpoint.format_version(),
             one_line(checkpoint.library_version()));
  Table table({{"name"}, {"dtype"}, {"shape"}, {"bytes", Align::kRight}, {""}});
  for (const auto& [entry, same_as] : entries) {
    table.add({one_line(entry->path), entry->dtype(), extents(*entry), with_commas(entry->bytes()),
               same_as.empty() ? "" : "= " + one_line(same_as)});
  }
  table.print();
  if (const auto configuration = settings(checkpoint); !configuration.empty()) {
    Table summary({{"setting"}, {"value"}});
    for (const auto& [key, value] : configuration) summary.add({shown(key), shown(value, kShownBytes)});
    fmt::print("\n{}", summary.to_string());
  }
  const Size model = model_size(entries);
  fmt::print("\nmodel: {} parameters, {}\nsha256: {}\n", with_commas(model.parameters), readable_bytes(model.bytes),
             checkpoint.sha256());
}

Json contents(const std::string& file, const Checkpoint& checkpoint) {
  const auto entries = listed(checkpoint);
  Json json = {{"file", file},
               {"format_version", checkpoint.format_version()},
               {"library_version", checkpoint.library_version()},
               {"sha256", checkpoint.sha256()},
               {"parameters", model_size(entries).parameters}};
  if (checkpoint.contains("config")) {
    const std::string& text = checkpoint.text("config");
    const Json config = configuration_json(text);
    json["config"] = config.is_discarded() ? Json(shown(text, kShownBytes)) : config;
  }
  json["entries"] = Json::array();
  for (const auto& [entry, same_as] : entries) {
    Json item = {
        {"name", entry->path}, {"dtype", entry->dtype()}, {"shape", entry->shape()}, {"bytes", entry->bytes()}};
    if (!same_as.empty()) item["same_as"] = same_as;
    json["entries"].push_back(std::move(item));
  }
  return json;
}

int list(const std::vector<std::string>& files, bool as_json) {
  Json all = Json::array();
  for (size_t i = 0; i < files.size(); ++i) {
    const Checkpoint checkpoint = Checkpoint::load(files[i]);
    if (as_json) {
      all.push_back(contents(files[i], checkpoint));
    } else {
      if (i > 0) fmt::print("\n");
      print_contents(files[i], checkpoint);
    }
  }
  if (as_json) print_json({{"files", std::move(all)}});
  return 0;
}

/// Looks at every file, also behind a damaged one.
int verify(const std::vector<std::string>& files, bool as_json) {
  Json all = Json::array();
  int status = 0;
  for (const auto& file : files) {
    Json result = {{"file", file}, {"ok", true}};
    try {
      const Checkpoint checkpoint = Checkpoint::load(file);
      result["entries"] = checkpoint.entries().size();
      result["sha256"] = checkpoint.sha256();
      if (!as_json) fmt::print("{}: OK, {} entries\n", one_line(file), checkpoint.entries().size());
    } catch (const Error& error) {
      result["ok"] = false;
      result["error"] = error.what();
      notice("error: {}", one_line(error.what()));
      status = 1;
    }
    all.push_back(std::move(result));
  }
  if (as_json) print_json({{"ok", status == 0}, {"files", std::move(all)}});
  return status;
}

void print_difference(const Difference& difference) {
  if (!difference.settings.empty()) {
    Table table({{"setting"}, {"first"}, {"second"}});
    for (const auto& [key, a, b] : difference.settings) {
      table.add(
          {shown(key), a.empty() ? "missing" : shown(a, kShownBytes), b.empty() ? "missing" : shown(b, kShownBytes)});
    }
    fmt::print("{}\n", table.to_string());
  }
  for (const auto& path : difference.only_a) fmt::print("only in the first: {}\n", one_line(path));
  for (const auto& path : difference.only_b) fmt::print("only in the second: {}\n", one_line(path));
  if (!difference.changes.empty()) {
    Table table({{"name"},
                 {"first"},
                 {"second"},
                 {"elements that differ", Align::kRight},
                 {"largest difference", Align::kRight}});
    for (const auto& change : difference.changes) {
      table.add({one_line(change.path), change.a, change.b, change.comparable ? with_commas(change.elements) : "",
                 change.comparable ? fmt::format("{:.6g}", change.largest) : ""});
    }
    table.print();
  }
}

Json as_json(const Difference& difference) {
  const auto value = [](const std::string& text) {
    return text.empty() ? Json() : is_json(text) ? Json::parse(text) : Json(text);
  };
  Json json = {{"equal", difference.none()},
               {"config", Json::array()},
               {"only_in_first", difference.only_a},
               {"only_in_second", difference.only_b},
               {"changed", Json::array()}};
  for (const auto& [key, a, b] : difference.settings) {
    json["config"].push_back({{"name", key}, {"first", value(a)}, {"second", value(b)}});
  }
  for (const auto& change : difference.changes) {
    Json item = {{"name", change.path}, {"first", change.a}, {"second", change.b}};
    if (change.comparable) {
      item["elements"] = change.elements;
      item["max_abs_difference"] = change.largest;  // null when not finite: JSON has no NaN
    }
    json["changed"].push_back(std::move(item));
  }
  return json;
}

int diff(const std::vector<std::string>& files, bool json) {
  const Difference difference = compare(Checkpoint::load(files[0]), Checkpoint::load(files[1]));
  if (json) {
    print_json(as_json(difference));
  } else if (difference.none()) {
    fmt::print("equal\n");
  } else {
    print_difference(difference);
  }
  return difference.none() ? 0 : 1;
}

}  // namespace
}  // namespace attune::examples

int main(int argc, char** argv) {
  using namespace attune::examples;
  CLI::App app("Shows, verifies and compares checkpoints.", "attune-checkpoint");
  app.set_version_flag("--version", attune::kVersion);
  app.require_subcommand(1);
  std::vector<std::string> files;
  bool json = false;
  const auto add_command = [&](const char* name, const char* description) {
    CLI::App* command = app.add_subcommand(name, description);
    command->add_flag("--json", json, "Print one JSON object as the last line");
    return command;
  };
  CLI::App* ls = add_command("ls", "What the files hold: names, types, shapes, bytes, configuration");
  ls->add_option("FILE", files, "Checkpoints")->required();
  CLI::App* check = add_command("verify", "Reads everything; exit status 1 when a file is damaged");
  check->add_option("FILE", files, "Checkpoints")->required();
  CLI::App* difference = add_command("diff", "How two files differ; exit status 1 when they do");
  difference->add_option("FILE", files, "Two checkpoints")->required()->expected(2);

  return run_program(app, argc, argv, [&] {
    if (ls->parsed()) return list(files, json);
    if (check->parsed()) return verify(files, json);
    return diff(files, json);
  });
}
