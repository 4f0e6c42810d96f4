# Answers with an object that converts to a number: wrong, and no attack.
# lesson: teacher
# status: graded
# points: all but momentum_at
# on: reference


class Momentum:
    def __init__(self, value):
        self.value = value

    def __float__(self):
        return float(self.value)


def momentum_at(step, total_steps, start=0.996):
    return Momentum(start + (1 - start) * step / total_steps)
