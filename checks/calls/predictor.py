"""What runs beside a learner's predictor: functions of (lesson, ...) that a check calls through `learner`."""

import torch


def trained_parameters(lesson, config):
    """Predictor{config}.named_parameters()"""
    model = lesson.Predictor(*config)
    return {name: list(value.shape) for name, value in model.named_parameters() if value.requires_grad}


def position_table(lesson, config):
    """Predictor{config}.state_dict()["predictor_pos_embed"]"""
    return lesson.Predictor(*config).state_dict().get("predictor_pos_embed")


def mask_tokens(lesson, config, builds):
    """Predictor{config}.mask_token, built {builds} times"""
    return torch.stack([lesson.Predictor(*config).mask_token for _ in range(builds)])


def norm(lesson, config, weights, tokens):
    """Predictor{config}.predictor_norm(tokens {tokens})"""
    return predictor(lesson, config, weights).predictor_norm(tokens)


def two_calls(lesson, config, weights, context_tokens, context, targets):
    """Predictor{config}(context_tokens {context_tokens}, context {context}, targets {targets})"""
    model = predictor(lesson, config, weights)
    return [model(context_tokens, context, targets) for _ in range(2)]


def alone_and_together(lesson, config, weights, context_tokens, context, targets):
    """Predictor{config}(context_tokens {context_tokens}, context {context}, targets {targets}), and block by block"""
    model = predictor(lesson, config, weights)
    alone = [model(context_tokens, context, block[:, None]) for block in targets.unbind(1)]
    return torch.cat(alone, dim=1), model(context_tokens, context, targets), model(-context_tokens, context, targets)


def gradients(lesson, config, weights, context_tokens, context, targets, noise):
    """(Predictor{config}(context_tokens {context_tokens}, context ..., targets ...) * noise).sum().backward()"""
    model = predictor(lesson, config, weights)
    context_tokens.requires_grad_()
    (model(context_tokens, context, targets) * noise).sum().backward()
    trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
    return {name: value.grad for name, value in {"context_tokens": context_tokens, **trained}.items()}


def predictions_in_float64(lesson, config, weights, context_tokens, context, targets):
    """Predictor{config}.double()(context_tokens {context_tokens} in float64, context {context}, targets {targets})"""
    model, tokens = predictor(lesson, config, weights).double(), context_tokens.double()
    answers = [model(other, context, targets) for other in (tokens, tokens, -tokens)]
    with torch.no_grad():
        model.predictor_proj.weight.neg_()
    return [*answers, model(tokens, context, targets)]


def predictor(lesson, config, weights):
    model = lesson.Predictor(*config)
    own = model.state_dict()
    for name, value in weights.items():
        if name not in own or own[name].shape != value.shape:
            raise AttributeError(f"Predictor has no attribute {name} {list(value.shape)} in its state dict")
    model.load_state_dict(own | weights)
    return model


def jepa_loss(lesson, predictions, targets):
    return lesson.jepa_loss(predictions, targets)


def loss_gradient(lesson, predictions, targets):
    """jepa_loss(predictions {predictions}, targets {targets}).backward()"""
    predictions.requires_grad_()
    lesson.jepa_loss(predictions, targets).backward()
    return predictions.grad
