#include "layers/transformer/transformer.h"
#include "tests/golden/layers.h"
#include "tests/golden/torch_attention.h"

namespace attune::golden {
namespace {

Activation activation(const std::string& name) {
  if (name == "relu") return Activation::kRelu;
  if (name == "gelu") return Activation::kGelu;
  throw Skip("option activation = " + name + " is not in Attune");
}

/// The options that all of PyTorch's Transformer classes have.
BlockOptions block_options(Options& options) {
  BlockOptions layer;
  layer.dim = options.required("d_model");
  layer.heads = options.required("nhead");
  layer.ffn_dim = options.get<int64_t>("dim_feedforward", 2048);
  layer.activation = activation(options.get<std::string>("activation", "relu"));
  layer.norm_first = options.get("norm_first", false);
  layer.norm_eps = options.get("layer_norm_eps", 1e-5);
  layer.bias = options.get("bias", true);
  options.ignore({"dropout"});  // the cases are computed in evaluation mode
  return layer;
}

void link_both(std::vector<Link>& links, const std::string& torch, const std::string& ours) {
  for (const char* kind : {"weight", "bias"}) links.push_back({torch + kind, ours + kind});
}

/// Parameters of an encoder layer (norms 2) or a decoder layer (norms 3) below the prefixes.
void link_layer(std::vector<Link>& links, const std::string& torch, const std::string& ours, int norms) {
  const auto append = [&](const std::vector<Link>& more) { links.insert(links.end(), more.begin(), more.end()); };
  append(multi_head_links(torch + "self_attn.", ours + "attn."));
  if (norms == 3) append(multi_head_links(torch + "multihead_attn.", ours + "cross."));
  for (const char* name : {"linear1.", "linear2."}) link_both(links, torch + name, ours + "ffn." + name);
  for (int i = 1; i <= norms; ++i) {
    const std::string norm = "norm" + std::to_string(i) + ".";
    link_both(links, torch + norm, ours + norm);
  }
}

void link_stack(std::vector<Link>& links, const std::string& stack, int64_t blocks, int norms) {
  for (int64_t i = 0; i < blocks; ++i) {
    const std::string number = std::to_string(i) + ".";
    link_layer(links, stack + "layers." + number, stack + "block" + number, norms);
  }
  link_both(links, stack + "norm.", stack + "norm.");
}

/// Masks "<name>_mask" and "<name>_key_padding_mask".
AttentionMask masks(Session& session, const std::string& name, int64_t heads) {
  return attention_mask(session, name + "_mask", heads) & key_mask(session, name + "_key_padding_mask");
}

void run_encoder_layer(Session& session, Options& options, AttentionPath) {
  const BlockOptions layer = block_options(options);
  const bool batch_first = options.get("batch_first", false);
  TransformerEncoderLayer encoder(layer);
  std::vector<Link> links;
  link_layer(links, "", "", 2);
  session.load(encoder, links);
  const Variable src = batch_in_front(session.input("src"), batch_first);
  session.output("output", batch_in_front(encoder(src, masks(session, "src", layer.heads)), batch_first));
}

void run_decoder_layer(Session& session, Options& options, AttentionPath) {
  const BlockOptions layer = block_options(options);
  const bool batch_first = options.get("batch_first", false);
  TransformerDecoderLayer decoder(layer);
  std::vector<Link> links;
  link_layer(links, "", "", 3);
  session.load(decoder, links);
  const Variable tgt = batch_in_front(session.input("tgt"), batch_first);
  const Variable memory = batch_in_front(session.input("memory"), batch_first);
  const Variable y = decoder(tgt, memory, masks(session, "tgt", layer.heads), masks(session, "memory", layer.heads));
  session.output("output", batch_in_front(y, batch_first));
}

void run_transformer(Session& session, Options& options, AttentionPath) {
  TransformerOptions whole;
  whole.block = block_options(options);
  whole.encoder_blocks = options.get<int64_t>("num_encoder_layers", 6);
  whole.decoder_blocks = options.get<int64_t>("num_decoder_layers", 6);
  const bool batch_first = options.get("batch_first", false);
  Transformer transformer(whole);
  std::vector<Link> links;
  link_stack(links, "encoder.", whole.encoder_blocks, 2);
  link_stack(links, "decoder.", whole.decoder_blocks, 3);
  session.load(transformer, links);
  const Variable src = batch_in_front(session.input("src"), batch_first);
  const Variable tgt = batch_in_front(session.input("tgt"), batch_first);
  const Variable y = transformer(src, tgt,
                                 {.source = masks(session, "src", whole.block.heads),
                                  .target = masks(session, "tgt", whole.block.heads),
                                  .memory = masks(session, "memory", whole.block.heads)});
  session.output("output", batch_in_front(y, batch_first));
}

}  // namespace

const std::vector<Layer> kTransformerLayers = {
    {"TransformerEncoderLayer", &run_encoder_layer, false},
    {"TransformerDecoderLayer", &run_decoder_layer, false},
    {"Transformer", &run_transformer, false},
};

}  // namespace attune::golden
