// A world's user writes code over `Environment` and its addresses, so these come along.
@_exported public import MartletRuntime
@_exported public import MartletWire
