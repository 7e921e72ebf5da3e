#include "tests/torture/hostile_checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>
#include <variant>
#include <vector>

#include "framework/checkpoint.h"
#include "framework/checkpoint_format.h"
#include "framework/error.h"
#include "framework/sha256.h"
#include "tests/torture/mutate.h"
#include "tests/torture/run_folder.h"

namespace attune::torture {
namespace {

namespace fs = std::filesystem;

/// HDF5's bytes as a file whose digest is right: every one of them reaches the HDF5 library.
std::string sealed(const std::string& payload) {
  Sha256 digest;
  digest.update(payload);
  return checkpoint_format::header(payload.size(), digest.finish()) + payload;
}

std::string payload_of(const std::string& file) {
  return file.size() > checkpoint_format::kHeaderBytes ? file.substr(checkpoint_format::kHeaderBytes) : "";
}

/// A place in HDF5's own structures rather than in the elements, of which there are more.
size_t structure_in(Dice& dice, const std::string& payload) {
  static const std::array<std::string, 10> kSignatures = {"GCOL", "OHDR", "OCHK", "TREE", "SNOD",
                                                          "HEAP", "FRHP", "FHDB", "BTHD", "BTLF"};
  if (dice.chance(0.3)) return dice.below(payload.size());
  if (dice.chance(0.3)) return dice.below(std::min<size_t>(payload.size(), 3000));
  const std::string& signature = dice.pick(kSignatures);
  const size_t begin = dice.below(payload.size());
  size_t found = payload.find(signature, begin);
  if (found == std::string::npos) found = payload.find(signature);
  if (found == std::string::npos) return begin;
  return std::min(found + dice.below(200), payload.size() - 1);
}

using Entries = std::vector<Checkpoint::Entry>;

template <class Kind>
Checkpoint::Entry* any_of(Dice& dice, Entries& entries, std::string_view prefix) {
  std::vector<Checkpoint::Entry*> found;
  for (Checkpoint::Entry& entry : entries) {
    if (entry.path.starts_with(prefix) && std::holds_alternative<Kind>(entry.value)) found.push_back(&entry);
  }
  return found.empty() ? nullptr : dice.pick(found);
}

bool hostile_text(Dice& dice, Entries& entries, std::string_view prefix) {
  Checkpoint::Entry* entry = any_of<std::string>(dice, entries, prefix);
  if (entry == nullptr) return false;
  entry->value = hostile_json(dice, std::get<std::string>(entry->value));
  return true;
}

bool hostile_list(Dice& dice, Entries& entries) {
  Checkpoint::Entry* entry = any_of<std::vector<std::string>>(dice, entries, "");
  if (entry == nullptr) return false;
  auto& list = std::get<std::vector<std::string>>(entry->value);
  if (list.empty() || dice.chance(0.1)) {
    list.assign(dice.below(3), "x");
    return true;
  }
  std::string& text = list[dice.below(list.size())];
  switch (dice.below(6)) {
    case 0:
      list.resize(dice.below(list.size()));
      break;
    case 1:
      list.push_back(list.front());
      break;
    case 2:
      text = list[dice.below(list.size())];
      break;
    case 3:
      text = "";
      break;
    case 4:
      text = hostile_json(dice, text);
      break;
    default:
      text = hostile_line(dice);
      break;
  }
  return true;
}

/// Bytes of a text codec, one an element.
bool hostile_codec(Dice& dice, Entries& entries) {
  Checkpoint::Entry* entry = any_of<Tensor>(dice, entries, "codec/");
  if (entry == nullptr || entry->dtype() != "int64") return false;
  const Tensor& tensor = std::get<Tensor>(entry->value);
  if (tensor.numel() == 0) return false;
  std::string bytes;
  for (int64_t i = 0; i < tensor.numel(); ++i) bytes += static_cast<char>(tensor.data<int64_t>()[i]);
  bytes = damaged(dice, std::move(bytes));
  Tensor changed = Tensor::empty({static_cast<int64_t>(bytes.size())}, DType::kInt64);
  for (size_t i = 0; i < bytes.size(); ++i) changed.data<int64_t>()[i] = static_cast<unsigned char>(bytes[i]);
  if (dice.chance(0.1) && !bytes.empty()) {
    changed.data<int64_t>()[dice.below(bytes.size())] = dice.pick({int64_t{-1}, int64_t{256}, INT64_MAX});
  }
  entry->value = changed;
  return true;
}

/// Makes some weight something else than what the configuration says.
bool hostile_tensor(Dice& dice, Entries& entries, std::string_view prefix, HostileCheckpoint& made) {
  Checkpoint::Entry* entry = any_of<Tensor>(dice, entries, prefix);
  if (entry == nullptr) return false;
  const Tensor tensor = std::get<Tensor>(entry->value);
  if (dice.chance(0.4) && tensor.dtype() == DType::kFloat32 && tensor.numel() > 0) {
    Tensor changed = tensor.clone();
    const float value =
        dice.pick({std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), 1e38F});
    const bool everywhere = dice.chance(0.5);
    for (int64_t i = 0; i < changed.numel(); ++i) {
      if (everywhere || i == 0) changed.data<float>()[i] = value;
    }
    entry->value = changed;
    // Where an average is kept it is what is used.
    made.not_finite = !std::isfinite(value) && prefix == "model/" &&
                      std::none_of(entries.begin(), entries.end(), [](const Checkpoint::Entry& other) {
                        return other.path.starts_with("average/") || other.path.starts_with("checkpoints/");
                      });
    return true;
  }
  switch (dice.below(5)) {
    case 0:
      entry->value = Tensor::zeros({tensor.numel() + 1}, tensor.dtype());
      break;
    case 1:
      entry->value = Tensor::zeros({0}, tensor.dtype());
      break;
    case 2:
      entry->value = Tensor::zeros(tensor.shape(), dice.pick({DType::kInt64, DType::kFloat64, DType::kBFloat16}));
      break;
    case 3:
      entry->path += "x";
      break;
    default:
      entries.erase(entries.begin() + (entry - entries.data()));
      break;
  }
  return true;
}

void save(const Entries& entries, const fs::path& path) {
  Checkpoint checkpoint;
  for (const Checkpoint::Entry& entry : entries) {
    if (const auto* tensor = std::get_if<Tensor>(&entry.value)) checkpoint.put(entry.path, *tensor);
    if (const auto* text = std::get_if<std::string>(&entry.value)) checkpoint.put_text(entry.path, *text);
    if (const auto* list = std::get_if<std::vector<std::string>>(&entry.value)) checkpoint.put_list(entry.path, *list);
  }
  save_checkpoint(checkpoint, path);
}

/// Content that the library itself would write, were it asked to.
bool change_content(Dice& dice, const fs::path& good, const fs::path& bad, HostileCheckpoint& made) {
  Entries entries = load_checkpoint(good).entries();
  bool done = false;
  switch (dice.below(7)) {
    case 0:
    case 1:
    case 2:
      made.what = "configuration", done = hostile_text(dice, entries, "config");
      break;
    case 3:
      made.what = "list", done = hostile_list(dice, entries);
      break;
    case 4:
      made.what = "codec", done = hostile_codec(dice, entries);
      break;
    case 5:
      made.what = "weights", done = hostile_tensor(dice, entries, "model/", made);
      break;
    default:
      made.what = "state";
      done = dice.chance(0.6) ? hostile_text(dice, entries, "state/") : hostile_tensor(dice, entries, "", made);
      break;
  }
  if (!done) return false;
  try {
    save(entries, bad);
  } catch (const Error&) {
    return false;  // text that is not UTF-8: cannot be written
  }
  return true;
}

}  // namespace

HostileCheckpoint make_hostile_checkpoint(Trial& trial, const fs::path& good, const fs::path& bad) {
  Dice& dice = trial.dice();
  HostileCheckpoint made;
  const double kind = dice.unit();
  if (kind < 0.5 && change_content(dice, good, bad, made)) return made;
  made = {};
  const std::string file = bytes_of(good);
  std::string payload = payload_of(file);
  if (kind < 0.6 || payload.empty()) {
    made.what = "damaged";
    write_bytes(bad, damaged(dice, file));
    return made;
  }
  if (dice.chance(0.15)) {
    made.what = "cut, digest right";
    payload.resize(1 + dice.below(payload.size()));
  } else if (dice.chance(0.3)) {
    made.what = "burst, digest right";
    burst(dice, payload, structure_in(dice, payload), 30);
  } else {
    made.what = "byte, digest right";
    for (int64_t count = dice.between(1, 2); count > 0; --count) burst(dice, payload, structure_in(dice, payload), 1);
  }
  write_bytes(bad, sealed(payload));
  return made;
}

}  // namespace attune::torture
