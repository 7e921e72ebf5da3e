#include "examples/sentiment/config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <limits>
#include <system_error>
#include <variant>

#include "examples/support/program.h"
#include "framework/fail.h"

namespace attune::examples {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kProgram = "attune-sentiment";

struct Whole {
  int64_t* value;
  int64_t low;
  int64_t high = 1 << 30;
};
struct Seed {
  uint64_t* value;
};
/// low <= value < high
struct Number {
  double* value;
  double low;
  double high = std::numeric_limits<double>::infinity();
};
struct Switch {
  bool* value;
};
/// One of the choices; anything where there are none.
struct Text {
  std::string* value;
  std::vector<std::string> choices{};
};

struct Field {
  const char* section;
  const char* name;
  std::variant<Whole, Seed, Number, Switch, Text> kind;

  std::string key() const { return fmt::format("{}.{}", section, name); }
};

/// The one list of settings: names, where they are kept, and what they may be.
std::vector<Field> fields_of(Config& c) {
  return {
      {"text", "lower_case", Switch{&c.text.lower_case}},
      {"text", "split_punctuation", Switch{&c.text.split_punctuation}},
      {"text", "min_count", Whole{&c.text.min_count, 1}},
      {"text", "max_vocabulary", Whole{&c.text.max_vocabulary, 0}},
      {"text", "max_length", Whole{&c.text.max_length, 1, 65536}},
      {"text", "truncate", Switch{&c.text.truncate}},
      {"model", "members", Whole{&c.model.members, 1, 64}},
      {"model", "dim", Whole{&c.model.dim, 1, 8192}},
      {"model", "heads", Whole{&c.model.heads, 1, 1024}},
      {"model", "blocks", Whole{&c.model.blocks, 1, 1024}},
      {"model", "ffn_dim", Whole{&c.model.ffn_dim, 1, 65536}},
      {"model", "norm_first", Switch{&c.model.norm_first}},
      {"model", "neighbours", Whole{&c.model.neighbours, 0, 4}},
      {"model", "positions", Text{&c.model.positions, {"learned", "sinusoidal", "none"}}},
      {"model", "pooling", Text{&c.model.pooling, {"attention", "mean", "first"}}},
      {"model", "embedding_stddev", Number{&c.model.embedding_stddev, 0}},
      {"model", "embedding_dropout", Number{&c.model.embedding_dropout, 0, 1}},
      {"model", "dropout", Number{&c.model.dropout, 0, 1}},
      {"model", "head_dropout", Number{&c.model.head_dropout, 0, 1}},
      {"training", "epochs", Whole{&c.training.epochs, 1}},
      {"training", "batch_size", Whole{&c.training.batch_size, 1}},
      {"training", "optimizer", Text{&c.training.optimizer, {"adam", "adamw"}}},
      {"training", "learning_rate", Number{&c.training.learning_rate, 0}},
      {"training", "beta2", Number{&c.training.beta2, 0, 1}},
      {"training", "schedule", Text{&c.training.schedule, {"cosine", "inverse_sqrt", "constant"}}},
      {"training", "warmup", Number{&c.training.warmup, 0, 1}},
      {"training", "weight_decay", Number{&c.training.weight_decay, 0}},
      {"training", "clip_norm", Number{&c.training.clip_norm, 0}},
      {"training", "label_smoothing", Number{&c.training.label_smoothing, 0, 1}},
      {"training", "word_dropout", Number{&c.training.word_dropout, 0, 1}},
      {"training", "average_decay", Number{&c.training.average_decay, 0, 1}},
      {"training", "evaluations_per_epoch", Whole{&c.training.evaluations_per_epoch, 1}},
      {"training", "save_every", Number{&c.training.save_every, 0}},
      {"run", "data", Text{&c.run.data}},
      {"run", "dev", Text{&c.run.dev}},
      {"run", "seed", Seed{&c.run.seed}},
      {"run", "threads", Whole{&c.run.threads, 0, 1024}},
      {"run", "steps", Whole{&c.run.steps, 0}},
  };
}

Json value_of(const Field& field) {
  return std::visit([](const auto& kind) { return Json(*kind.value); }, field.kind);
}

/// What is expected instead; empty when the value was taken.
std::string assign(const Whole& to, const Json& json) {
  if (json.is_number_integer() && json >= to.low && json <= to.high) {
    *to.value = json.get<int64_t>();
    return {};
  }
  return fmt::format("a whole number from {} to {}", to.low, to.high);
}
std::string assign(const Seed& to, const Json& json) {
  if (json.is_number_integer() && json >= 0) {
    *to.value = json.get<uint64_t>();
    return {};
  }
  return "a whole number of at least 0";
}
std::string assign(const Number& to, const Json& json) {
  if (json.is_number() && json.get<double>() >= to.low && json.get<double>() < to.high) {
    *to.value = json.get<double>();
    return {};
  }
  if (std::isinf(to.high)) return fmt::format("a number of at least {}", to.low);
  return fmt::format("a number from {} to below {}", to.low, to.high);
}
std::string assign(const Switch& to, const Json& json) {
  if (json.is_boolean()) {
    *to.value = json.get<bool>();
    return {};
  }
  return "true or false";
}
std::string assign(const Text& to, const Json& json) {
  const auto known = [&](const std::string& text) {
    return to.choices.empty() || std::find(to.choices.begin(), to.choices.end(), text) != to.choices.end();
  };
  if (json.is_string() && known(json.get<std::string>())) {
    *to.value = json.get<std::string>();
    return {};
  }
  return to.choices.empty() ? "a text" : fmt::format("one of {}", fmt::join(to.choices, ", "));
}

std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

/// Sets one value or says what is wrong with it.
std::string assign(std::vector<Field>& fields, const std::string& key, const Json& json) {
  const auto field = std::find_if(fields.begin(), fields.end(), [&](const Field& f) { return f.key() == key; });
  if (field == fields.end()) {
    const std::string section = key.substr(0, key.find('.'));
    std::vector<std::string> there;
    for (const Field& f : fields) {
      if (f.section == section) there.push_back(f.key());
    }
    if (there.empty()) {
      for (const Field& f : fields) {
        if (const std::string name = fmt::format("{}.*", f.section); there.empty() || there.back() != name) {
          there.push_back(name);
        }
      }
    }
    return fmt::format("unknown setting '{}', expected one of {}", key, fmt::join(there, ", "));
  }
  const std::string expected = std::visit([&](const auto& kind) { return assign(kind, json); }, field->kind);
  return expected.empty() ? "" : fmt::format("{} is {}, expected {}", key, dump(json), expected);
}

}  // namespace

std::vector<std::string> preset_names() { return {"reviews", "sst2"}; }

Config preset(std::string_view name) {
  Config config;
  if (name == "reviews") {
    config.training.epochs = 8;
    config.training.learning_rate = 2e-3;
    return config;
  }
  if (name == "sst2") {
    config.text.min_count = 2;
    config.model.members = 4;
    config.model.blocks = 1;
    config.model.neighbours = 1;
    config.model.positions = "none";  // neighbours know the order
    config.model.embedding_stddev = 0.1;
    config.model.embedding_dropout = 0.3;
    config.model.dropout = 0.3;
    config.model.head_dropout = 0.3;
    config.training.epochs = 2;
    config.training.weight_decay = 0.1;
    config.training.word_dropout = 0.2;
    config.training.average_decay = 0.999;
    config.training.evaluations_per_epoch = 4;
    return config;
  }
  throw UsageError(fmt::format("preset '{}' is not known, expected one of {}", name, fmt::join(preset_names(), ", ")));
}

std::string to_json(const Config& config) {
  Config copy = config;
  Json json = {{"program", kProgram}};
  for (const Field& field : fields_of(copy)) json[field.section][field.name] = value_of(field);
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + '\n';
}

void update_from_json(Config& config, std::string_view text, const std::string& origin) {
  Json json;
  try {
    json = Json::parse(text);
  } catch (const Json::parse_error& error) {
    const auto at = text.begin() + static_cast<std::ptrdiff_t>(std::min(error.byte, text.size()));
    fail<FormatError>("{}: line {}: not JSON, expected an object such as {{\"model\": {{\"dim\": 128}}}}", origin,
                      1 + std::count(text.begin(), at, '\n'));
  }
  require<FormatError>(json.is_object(), "{}: {} given, expected an object such as {{\"model\": {{\"dim\": 128}}}}",
                       origin, json.type_name());
  Config updated = config;
  std::vector<Field> fields = fields_of(updated);
  for (const auto& [section, values] : json.items()) {
    if (section == "program") {
      require<FormatError>(values == kProgram, "{}: made by program {}, expected {}", origin, dump(values), kProgram);
      continue;
    }
    require<FormatError>(values.is_object(), "{}: {} is {}, expected an object of settings", origin, section,
                         dump(values));
    for (const auto& [name, value] : values.items()) {
      const std::string problem = assign(fields, fmt::format("{}.{}", section, name), value);
      require<FormatError>(problem.empty(), "{}: {}", origin, problem);
    }
  }
  config = updated;
}

void update_from_file(Config& config, const std::string& path) {
  std::error_code error;
  const bool folder = std::filesystem::is_directory(path, error);
  std::ifstream file(path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  require<IoError>(!folder && file.is_open() && !file.bad(), "{}: cannot be read: {}", path,
                   folder ? "a folder" : std::generic_category().message(errno));
  update_from_json(config, text, path);
}

void update_from_setting(Config& config, const std::string& setting) {
  const size_t equals = setting.find('=');
  if (equals == std::string::npos || equals == 0) {
    throw UsageError(fmt::format("--set {}: expected key=value, as in model.dim=64", setting));
  }
  const std::string text = setting.substr(equals + 1);
  Json value = Json::parse(text, nullptr, false);
  if (value.is_discarded()) value = text;
  Config updated = config;
  std::vector<Field> fields = fields_of(updated);
  const std::string problem = assign(fields, setting.substr(0, equals), value);
  if (!problem.empty()) throw UsageError(fmt::format("--set {}: {}", setting, problem));
  config = updated;
}

std::vector<std::pair<std::string, std::string>> settings_of(const Config& config) {
  Config copy = config;
  std::vector<std::pair<std::string, std::string>> settings;
  for (const Field& field : fields_of(copy)) settings.emplace_back(field.key(), dump(value_of(field)));
  return settings;
}

void check(const Config& config, const std::string& origin) {
  require<FormatError>(config.model.dim % config.model.heads == 0,
                       "{}: model.dim is {} and model.heads {}, expected heads that divide dim", origin,
                       config.model.dim, config.model.heads);
  require<FormatError>(config.training.learning_rate > 0, "{}: training.learning_rate is 0, expected a number above 0",
                       origin);
}

}  // namespace attune::examples
