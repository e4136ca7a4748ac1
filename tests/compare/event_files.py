"""Event files as TensorBoard's, PyTorch's and TensorFlow's writers leave them."""

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.summary.writer.event_file_writer import EventFileWriter


def write_events(folder, points, *, start=1000.0, as_tensors=False, restart=None):
    """Events with the writer that all loggers use underneath; one second per step.

    Before the point number ``restart`` the writer begins again at that point's step.
    """
    writer = EventFileWriter(str(folder))
    for number, (tag, step, value) in enumerate(points):
        if number == restart:
            writer.add_event(Event(step=step, session_log=SessionLog(status=SessionLog.START)))
        own = Summary.Value(tag=tag, **(tensor(value) if as_tensors else {"simple_value": value}))
        writer.add_event(Event(step=step, wall_time=start + step, summary=Summary(value=[own])))
    writer.close()
    return folder


def tensor(value):
    """A scalar as TensorFlow 2 writes it."""
    number = TensorProto(dtype=1, tensor_content=np.float32(value).tobytes())
    number.tensor_shape.SetInParent()
    plugin = SummaryMetadata.PluginData(plugin_name="scalars")
    return {"tensor": number, "metadata": SummaryMetadata(plugin_data=plugin, data_class=1)}


def damage(folder, change):
    """Replace the bytes of a folder's only event file."""
    (path,) = folder.iterdir()
    path.write_bytes(change(path.read_bytes()))
