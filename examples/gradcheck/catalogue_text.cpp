#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "examples/gradcheck/rows.h"
#include "layers/seq2seq/recurrent_text.h"
#include "layers/seq2seq/transformer_text.h"

namespace attune::examples {
namespace {

using Inputs = std::span<const Variable>;

struct NamedTextPositions {
  TextPositions positions;
  const char* code;
};

NamedTextPositions text_positions(const Options& o) {
  const std::string& name = o.text("positions");
  if (name == "none") return {TextPositions::kNone, "TextPositions::kNone"};
  if (name == "learned") return {TextPositions::kLearned, "TextPositions::kLearned"};
  return {TextPositions::kSinusoidal, "TextPositions::kSinusoidal"};
}

OptionRow text_positions_option() {
  return {
      "positions", std::string("sinusoidal"), {std::string("none"), std::string("sinusoidal"), std::string("learned")}};
}

GradcheckZeros unused_tokens(const std::string& leaf, const Tensor& tokens, const Shape& table) {
  const std::vector<int64_t> list = tokens.to_vector<int64_t>();
  const std::set<int64_t> used(list.begin(), list.end());
  return {
      "embeddings that are not used", {}, {{leaf, bool_tensor(table, [&](auto i) { return !used.contains(i[0]); })}}};
}

/// positions, max_length and dropout of embeddings, and the same as C++.
struct EmbeddingParts {
  TextEmbeddingOptions options;
  std::string code;
};

EmbeddingParts embedding_parts(const Options& o) {
  const NamedTextPositions named = text_positions(o);
  EmbeddingParts parts;
  parts.options = {.positions = named.positions, .max_length = 40, .dropout = o.number("dropout")};
  parts.code = fmt::format("{{.positions = {}, .max_length = 40, .dropout = {}}}", named.code, o.number("dropout"));
  return parts;
}

Case make_text_embedding(const Options& o, const Draw& d) {
  const EmbeddingParts parts = embedding_parts(o);
  auto layer = std::make_unique<TextEmbedding>(d["V"], d["D"], parts.options);
  const Tensor tokens = random_ids({d["B"], d["T"]}, d["V"], d.seed);
  Case made;
  made.call = [&module = *layer, tokens](Inputs) { return std::vector<Variable>{module(tokens)}; };
  made.module = std::move(layer);
  made.declaration = fmt::format("TextEmbedding layer({}, {}, {});", d["V"], d["D"], parts.code);
  made.body = returns("layer(tokens)");
  made.constants.emplace_back("tokens", tokens);
  made.zeros.push_back(unused_tokens("tokens.weight", tokens, {d["V"], d["D"]}));
  return made;
}

/// Tokens with lengths -> states.
template <class Encoder>
Case encoder_case(std::unique_ptr<Encoder> layer, std::string declaration, int64_t embedding_dim, const Draw& d) {
  const Tensor tokens = random_ids({d["B"], d["S"]}, d["V"], d.seed);
  const Tensor lengths = random_lengths(d["B"], d["S"], d.seed + 1);
  Case made;
  made.call = [&module = *layer, tokens, lengths](Inputs) {
    const EncoderOutput output = module(tokens, lengths);
    std::vector<Variable> outputs{output.states};
    if (output.summary.defined()) outputs.push_back(output.summary);
    return outputs;
  };
  made.module = std::move(layer);
  made.constants.emplace_back("tokens", tokens);
  made.constants.emplace_back("lengths", lengths);
  made.declaration = std::move(declaration);
  made.body =
      "const EncoderOutput output = layer(tokens, lengths);\n"
      "    std::vector<Variable> outputs{output.states};\n"
      "    if (output.summary.defined()) outputs.push_back(output.summary);\n"
      "    return outputs;";
  made.zeros.push_back(unused_tokens("embedding.tokens.weight", tokens, {d["V"], embedding_dim}));
  return made;
}

/// States with lengths and tokens -> logits.
template <class Decoder>
Case decoder_case(std::unique_ptr<Decoder> layer, std::string declaration, int64_t memory_dim, const Draw& d) {
  const Tensor tokens = random_ids({d["B"], d["T"]}, d["V"], d.seed);
  const Tensor lengths = random_lengths(d["B"], d["S"], d.seed + 1);
  const Shape states{d["B"], d["S"], memory_dim};
  Case made;
  made.call = [&module = *layer, tokens, lengths](Inputs in) {
    return std::vector<Variable>{module.head()(module({.states = in[0], .lengths = lengths}, tokens))};
  };
  made.module = std::move(layer);
  made.inputs = {{"states", "B S M", states}};
  made.constants.emplace_back("tokens", tokens);
  made.constants.emplace_back("lengths", lengths);
  made.declaration = std::move(declaration);
  made.body = returns("layer.head()(layer({.states = states, .lengths = lengths}, tokens))");
  made.zeros.push_back({"states behind the lengths", {}, {{"states", bool_tensor(states, [&](auto i) {
                                                             return i[1] >= lengths.data<int64_t>()[i[0]];
                                                           })}}});
  return made;
}

/// The options that both stacks have.
std::string stack_code(const Options& o, const Draw& d) {
  return fmt::format(
      "{{.blocks = 1, .block = {{.dim = {}, .heads = {}, .ffn_dim = {}, .dropout = {}, "
      ".activation = Activation::kGelu, .norm_first = {}}}}}",
      d["H"] * d["K"], d["H"], d["F"], o.number("dropout"), o.flag("norm_first"));
}

template <class StackOptions>
StackOptions stack_of(const Options& o, const Draw& d) {
  return {.blocks = 1,
          .block = {.dim = d["H"] * d["K"],
                    .heads = d["H"],
                    .ffn_dim = d["F"],
                    .dropout = o.number("dropout"),
                    .activation = Activation::kGelu,
                    .norm_first = o.flag("norm_first")}};
}

Case make_transformer_encoder(const Options& o, const Draw& d) {
  const EmbeddingParts parts = embedding_parts(o);
  const TransformerTextEncoderOptions options{
      .vocabulary = d["V"], .embedding = parts.options, .encoder = stack_of<TransformerEncoderOptions>(o, d)};
  return encoder_case(std::make_unique<TransformerTextEncoder>(options),
                      fmt::format("TransformerTextEncoder layer({{.vocabulary = {},\n    .embedding = {},\n"
                                  "    .encoder = {}}});",
                                  d["V"], parts.code, stack_code(o, d)),
                      options.encoder.block.dim, d);
}

Case make_transformer_decoder(const Options& o, const Draw& d) {
  const EmbeddingParts parts = embedding_parts(o);
  const TransformerTextDecoderOptions options{.vocabulary = d["V"],
                                              .embedding = parts.options,
                                              .decoder = stack_of<TransformerDecoderOptions>(o, d),
                                              .share_head = o.flag("share_head"),
                                              .head_bias = o.flag("head_bias")};
  return decoder_case(std::make_unique<TransformerTextDecoder>(options),
                      fmt::format("TransformerTextDecoder layer({{.vocabulary = {},\n    .embedding = {},\n"
                                  "    .decoder = {},\n    .share_head = {},\n    .head_bias = {}}});",
                                  d["V"], parts.code, stack_code(o, d), options.share_head, options.head_bias),
                      options.decoder.block.dim, d);
}

OptionRow cell_option() { return {"cell", std::string("gru"), {std::string("gru"), std::string("lstm")}}; }
OptionRow layers_option() { return {"layers", int64_t{1}, {int64_t{1}, int64_t{2}}}; }

RecurrentCell cell(const Options& o) { return o.text("cell") == "lstm" ? RecurrentCell::kLstm : RecurrentCell::kGru; }
std::string cell_code(const Options& o) {
  return o.text("cell") == "lstm" ? "RecurrentCell::kLstm" : "RecurrentCell::kGru";
}

Case make_recurrent_encoder(const Options& o, const Draw& d) {
  const RecurrentTextEncoderOptions options{.vocabulary = d["V"],
                                            .dim = d["D"],
                                            .hidden = d["H"],
                                            .cell = cell(o),
                                            .layers = o.whole("layers"),
                                            .bidirectional = o.flag("bidirectional"),
                                            .dropout = o.number("dropout")};
  return encoder_case(
      std::make_unique<RecurrentTextEncoder>(options),
      fmt::format("RecurrentTextEncoder layer({{.vocabulary = {}, .dim = {}, .hidden = {}, .cell = {}, "
                  ".layers = {}, .bidirectional = {}, .dropout = {}}});",
                  d["V"], d["D"], d["H"], cell_code(o), options.layers, options.bidirectional, options.dropout),
      d["D"], d);
}

constexpr const char* kNoAttention = "none";

OptionRow attention_option() {
  OptionRow row{"attention", std::string("additive"), {std::string(kNoAttention)}};
  for (const std::string& name : attention_names()) row.choices.emplace_back(name);
  return row;
}

/// Whether the attention compares queries with keys as they are.
bool needs_equal_widths(const std::string& name) {
  return name != kNoAttention && registered_attention(name).traits.equal_widths;
}

Case make_recurrent_decoder(const Options& o, const Draw& d) {
  const std::string& name = o.text("attention");
  const bool luong = o.text("form") == "luong";
  RecurrentTextDecoderOptions options{.vocabulary = d["V"],
                                      .memory_dim = needs_equal_widths(name) ? d["H"] : d["M"],
                                      .dim = d["D"],
                                      .hidden = d["H"],
                                      .cell = cell(o),
                                      .layers = o.whole("layers"),
                                      .form = luong ? RecurrentForm::kLuong : RecurrentForm::kBahdanau,
                                      .attention = {},
                                      .dropout = o.number("dropout"),
                                      .share_head = o.flag("share_head"),
                                      .head_bias = o.flag("head_bias")};
  if (name != kNoAttention) options.attention = attention_config(name);
  std::string declaration = fmt::format(
      "RecurrentTextDecoder layer({{.vocabulary = {}, .memory_dim = {}, .dim = {}, .hidden = {}, .cell = {},\n"
      "    .layers = {}, .form = RecurrentForm::{}, .attention = {}, .dropout = {}, .share_head = {}, .head_bias = "
      "{}}});",
      d["V"], options.memory_dim, d["D"], d["H"], cell_code(o), options.layers, luong ? "kLuong" : "kBahdanau",
      name == kNoAttention ? "std::nullopt" : fmt::format("attention_config(\"{}\")", name), options.dropout,
      options.share_head, options.head_bias);
  return decoder_case(std::make_unique<RecurrentTextDecoder>(options), std::move(declaration), options.memory_dim, d);
}

}  // namespace

void add_text_rows(std::vector<LayerRow>& rows) {
  const std::vector<ExtentRow> stack = {{"B", 1, 2}, {"S", 1, 4}, {"V", 2, 5}, {"H", 1, 2}, {"K", 4, 6}, {"F", 1, 5}};
  std::vector<ExtentRow> decoder_stack = stack;
  decoder_stack.push_back({"T", 1, 4});
  const std::vector<ExtentRow> recurrent = {{"B", 1, 2}, {"S", 1, 4}, {"V", 2, 5}, {"D", 1, 4}, {"H", 1, 4}};
  std::vector<ExtentRow> recurrent_decoder = recurrent;
  recurrent_decoder.push_back({"T", 1, 4});
  recurrent_decoder.push_back({"M", 1, 4});
  const OptionRow share = flag_option("share_head", true), bias = flag_option("head_bias", false);
  rows.push_back({"TextEmbedding",
                  "scaled embeddings with positions",
                  {text_positions_option(), dropout_option()},
                  {{"B", 1, 3}, {"T", 1, 4}, {"V", 2, 7}, {"D", 1, 5}},
                  {},
                  make_text_embedding});
  rows.push_back({"TransformerTextEncoder",
                  "embeddings and a Transformer encoder, padded sentences",
                  {text_positions_option(), dropout_option(), flag_option("norm_first", false)},
                  stack,
                  {},
                  make_transformer_encoder});
  rows.push_back({"TransformerTextDecoder",
                  "embeddings, a causal Transformer decoder and its head, padded sources",
                  {text_positions_option(), dropout_option(), flag_option("norm_first", false), share, bias},
                  decoder_stack,
                  {},
                  make_transformer_decoder});
  rows.push_back({"RecurrentTextEncoder",
                  "embeddings and a recurrent encoder, packed lengths",
                  {cell_option(), layers_option(), flag_option("bidirectional", true), dropout_option()},
                  recurrent,
                  {},
                  make_recurrent_encoder});
  rows.push_back({"RecurrentTextDecoder",
                  "a recurrent decoder with any attention and its head, padded sources",
                  {attention_option(),
                   {"form", std::string("bahdanau"), {std::string("bahdanau"), std::string("luong")}},
                   cell_option(),
                   layers_option(),
                   dropout_option(),
                   share,
                   bias},
                  recurrent_decoder,
                  {},
                  make_recurrent_decoder,
                  [](const Options& o) {
                    const std::string& name = o.text("attention");
                    return name != kNoAttention && registered_attention(name).traits.rewarded;
                  }});
}

}  // namespace attune::examples
