#include "datasets/sequences.h"

#include "datasets/hash.h"

namespace attune {

std::vector<int64_t> LabelledSequences::lengths() const {
  std::vector<int64_t> lengths(static_cast<size_t>(size()));
  for (int64_t i = 0; i < size(); ++i) lengths[at(i)] = length(i);
  return lengths;
}

void LabelledSequences::add(std::span<const int64_t> tokens, int64_t label) {
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  begins_.push_back(static_cast<int64_t>(tokens_.size()));
  labels_.push_back(label);
}

uint64_t LabelledSequences::fingerprint() const {
  uint64_t hash = stable_hash(std::as_bytes(std::span(tokens_)));
  hash = stable_hash(std::as_bytes(std::span(begins_)), hash);
  return stable_hash(std::as_bytes(std::span(labels_)), hash);
}

}  // namespace attune
